"""The pure round: what it asks, what replies make of it; devices that get tasks of their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
from flwr.app import Message
from flwr.clientapp import ClientApp

from clients.records import task_of, to_packet, to_record
from fedtiny.config import parse
from fedtiny.config.sections import FederationConfig
from fedtiny.data.statistics import Normalization
from fedtiny.errors import FedTinyError
from fedtiny.federation.round import Federation, begin, finish, read_reply
from fedtiny.federation.sampling import sample
from fedtiny.federation.state import ServerState
from fedtiny.methods import METHODS
from fedtiny.models import build
from fedtiny.models.initial import initial_state
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.pruning.masks import layer_masks
from fedtiny.runs.events import Event, Exchanged
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import SparseTensor
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult, TrainTask
from sims.grids.inline import InlineGrid
from strategies.exchange import Exchange
from strategies.post import Post

GRAPH = build("smartwatch_cnn@4", (2, 1, 32), 3)
WEIGHTS = initial_state(GRAPH, rng(0, "initialization"))
ADJUSTS = [name for name, method in METHODS.items() if method.adjusts]


def federation(method: str = "fedtiny", clients_per_round: int = 0) -> Federation:
    pruning = {"method": method, "density": 0.3, "interval": 1, "stop": 4}
    trust = {"update_factor": 0}  # device k moves every weight by k: nobody is believed odd
    config = parse({"pruning": pruning, "federation": {"rounds": 4}, "trust": trust})
    return Federation(
        GRAPH, config.method, 5, clients_per_round, config.seed, config.trust, config.stopping
    )


def start() -> ServerState:
    scores = {layer.name: WEIGHTS[f"{layer.name}.weight"] for layer in GRAPH.prunable_layers}
    counts = {name: int(0.3 * score.size) for name, score in scores.items()}
    model = from_state(GRAPH, WEIGHTS, layer_masks(scores, counts))
    normalization = Normalization(np.zeros(2, np.float32), np.ones(2, np.float32))
    return ServerState(0, model, normalization, {})


def shifted(model: SparseModel, by: float) -> SparseModel:
    weights = {
        name: SparseTensor(one.mask, one.values + np.float32(by))
        for name, one in model.weights.items()
    }
    return SparseModel(weights, model.dense)


def replies(whole: Federation, task_of: dict[int, TrainTask]) -> dict[int, TrainResult]:
    """Device k adds k to every weight and reports the first absent positions."""
    found = {}
    for partition, task in task_of.items():
        growth = {}
        for name, quota in task.quotas.items():
            mask = task.model.masks[name]
            where = mask.complement()[:quota].astype(np.int32)
            growth[name] = (where, np.arange(1, len(where) + 1, dtype=np.float32))
        if whole.method.name == "prunefl" and task.quotas:
            growth = {
                name: (np.arange(mask.size, dtype=np.int32), np.ones(mask.size, np.float32))
                for name, mask in task.model.masks.items()
            }
        model = shifted(task.model, partition)
        found[partition] = TrainResult(model, partition + 1, 0.5, growth, None)
    return found


def test_all_participants_get_one_task_and_it_is_packed_once() -> None:
    whole, state = federation(clients_per_round=3), start()
    task = begin(whole, state, 1)
    assert list(task.tasks) == sample(0, "participants", 1, range(5), 3)
    packets = task.packets()
    assert len({id(packet) for packet in packets.values()}) == 1
    assert all(one.quotas == task.quotas and one.meter for one in task.tasks.values())
    later = begin(whole, replace(state, round=1), 2)
    assert not any(one.meter for one in later.tasks.values())


@pytest.mark.parametrize("method", ADJUSTS)
def test_a_round_is_a_function_of_its_arguments(method: str) -> None:
    """The same state and replies, in whatever order they came, give the same bytes; none change."""
    whole, state = federation(method), start()
    before = {name: value.tobytes() for name, value in state.model.to_dense().items()}
    task = begin(whole, state, 1)
    found = replies(whole, dict(task.tasks))
    first, facts = finish(whole, state, task, found)
    again, _ = finish(whole, state, task, dict(reversed(found.items())))
    for name, value in first.model.to_dense().items():
        assert value.tobytes() == again.model.to_dense()[name].tobytes(), name
    assert {k: v.tobytes() for k, v in state.model.to_dense().items()} == before
    assert (first.round, state.round) == (1, 0)
    assert facts.loss == 0.5
    assert set(facts.exchanged) == set(task.quotas)


def test_the_average_is_weighted_by_samples_and_masks_are_adjusted_after_it() -> None:
    whole, state = federation(), start()
    task = begin(whole, state, 1)
    after, facts = finish(whole, state, task, replies(whole, dict(task.tasks)))
    mean = sum(k * (k + 1) for k in range(5)) / sum(k + 1 for k in range(5))
    for name, one in facts.combined.model.weights.items():
        np.testing.assert_allclose(one.values, state.model.weights[name].values + mean, rtol=1e-5)
    assert facts.combined.model.nnz == after.model.nnz == state.model.nnz
    assert sum(facts.exchanged.values()) == sum(task.quotas.values()) > 0


def test_devices_may_be_asked_for_different_things() -> None:
    """Each reply is read against the masks that its own device was sent."""
    whole, state = federation("magnitude"), start()
    task = begin(whole, state, 1)
    sparser = {
        name: SparseTensor(type(one.mask)(one.shape, one.mask.indices[:-2]), one.values[:-2])
        for name, one in state.model.weights.items()
    }
    own = replace(task.tasks[2], model=SparseModel(sparser, state.model.dense))
    task = replace(task, tasks={**task.tasks, 2: own})
    packets = task.packets()
    assert len({id(packet) for packet in packets.values()}) == 2
    reply = TrainResult(own.model, 3, 0.5, {}, None).packet(GRAPH)
    assert read_reply(whole, task, 2, reply).model.nnz == own.model.nnz
    with pytest.raises(FedTinyError, match="values: expected"):
        read_reply(whole, task, 1, reply)


class Echo(InlineGrid):
    """Nodes that send back what they get."""

    def __init__(self, partitions: int) -> None:
        super().__init__(ClientApp(), partitions, {})
        self.contents: list[int] = []

    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        for message_id in message_ids:
            message = self._waiting.pop(message_id)
            self.contents.append(id(message.content))
            answer = to_record(to_packet(message.content), task_of(message.content))
            yield Message(answer, reply_to=message)


def test_an_exchange_carries_a_packet_per_partition_and_counts_each() -> None:
    reports: list[Event] = []
    grid = Echo(4)
    settings = FederationConfig(timeout_s=5)
    post = Post(grid, settings.timeout_s)
    exchange = Exchange(
        post, "abc", 4, 0, settings, set(), 0, lambda phase, round: None, reports.append
    )
    exchange._members.nodes = {partition: partition + 1 for partition in range(4)}
    shared = Packet({"values": np.zeros(10, np.float32)})
    own = Packet({"values": np.zeros(1000, np.float32)})
    answers = exchange.ask(
        Phase.TRAIN,
        1,
        {3: own, 0: shared, 1: shared},
        lambda _, packet: packet.arrays["values"].size,
    )
    assert answers == {0: 10, 1: 10, 3: 1000}
    assert list(answers) == [0, 1, 3]
    assert len(set(grid.contents)) == 2, "what several devices get is serialized once"
    (report,) = reports
    assert isinstance(report, Exchanged)
    assert (report.asked, report.down.payload, report.up.payload) == (3, 4080, 4080)
    assert report.down.wire == report.up.wire > 4080
