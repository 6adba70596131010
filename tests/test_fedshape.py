"""FedShape: shapes of equal bytes, the race between them, and what is trained then."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path

import numpy as np
import pytest
from builders import random_masks, random_model, unnormalized
from hypothesis import given, settings
from hypothesis import strategies as st
from repeated_runs import federate

from clients import handlers
from clients.device import Device
from fedtiny.aggregation.combiner import Combiner
from fedtiny.config import RunConfig
from fedtiny.data.shares import client_file
from fedtiny.data.simulated import deal_into
from fedtiny.methods.fedshape import FedShapeSettings
from fedtiny.methods.race import Race, Racer, lanes_of, survivors
from fedtiny.methods.trials import Trials
from fedtiny.models import build, resnet8
from fedtiny.models.graph import Graph
from fedtiny.models.narrow import value_bytes
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.bn_selection import BnPooling, SelectionError
from fedtiny.pruning.paired import Comparison
from fedtiny.report import write
from fedtiny.runs.events import DeviceDescribed, Exchanged, ModelPrepared, TierGiven
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.settings import ConfigError
from fedtiny.sparse.packing import pack_masks
from fedtiny.sparse.tensor import SparseTensor
from fedtiny.tiers.block import block_of
from fedtiny.tiers.equal_bytes import Shape, equal_bytes, model_bytes
from fedtiny.tiers.tier import WHOLE, Tier
from fedtiny.wire.candidates import CandidateLosses, CandidatesTask
from fedtiny.wire.join import JoinTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.part import part_width
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult, TrainTask

Configure = Callable[..., RunConfig]

RESNET = resnet8((1, 28, 28), 10)
WATCH = build("smartwatch_cnn", (6, 1, 128), 7)


@pytest.mark.parametrize("graph", [RESNET, WATCH], ids=lambda graph: graph.name)
@settings(deadline=None, max_examples=30)
@given(density=st.floats(0.005, 0.5), most=st.integers(1, 6))
def test_no_shape_takes_more_bytes_and_none_wastes_them(
    graph: Graph, density: float, most: int
) -> None:
    shapes = equal_bytes(graph, density, most)
    budget = shapes[0].bytes
    assert shapes[0].tier == WHOLE
    widths = [shape.tier.width for shape in shapes]
    assert len(shapes) <= most
    assert widths == sorted(set(widths), reverse=True)
    for shape in shapes[1:]:
        part = block_of(graph, shape.tier.width).graph
        size = sum(prod(layer.weight_shape) for layer in part.prunable_layers)
        assert model_bytes(part, shape.counts) == shape.bytes <= budget
        assert shape.tier.density == shape.nnz / size
        assert shape.tier.density == 1 or shape.bytes > 0.98 * budget


def test_the_narrowest_is_the_widest_dense_net_that_fits() -> None:
    last = equal_bytes(RESNET, 0.01, 5)[-1]
    assert last.tier == Tier(3 / 16, 1.0)
    assert value_bytes(resnet8((1, 28, 28), 10, width=4)) > equal_bytes(RESNET, 0.01, 1)[0].bytes


@pytest.mark.parametrize("density", [0.01, 0.1])
def test_bytes_are_those_of_real_masks(density: float) -> None:
    masks = random_masks(RESNET, density, 7)
    counts = {name: mask.nnz for name, mask in masks.items()}
    absent = sum(mask.size - mask.nnz for mask in masks.values())
    sent = value_bytes(RESNET) - 4 * absent + len(pack_masks(masks))
    assert model_bytes(RESNET, counts) == pytest.approx(sent, rel=0.005)


@given(st.integers(1, 12), st.integers(1, 6))
def test_every_device_trains_every_racer_once_and_one_a_lap(devices: int, racers: int) -> None:
    seen = [
        (device, lane)
        for lap in range(racers)
        for device, lane in lanes_of(range(devices), racers, lap).items()
    ]
    assert sorted(seen) == [(device, lane) for device in range(devices) for lane in range(racers)]


@given(st.lists(st.floats(0, 5), min_size=2, max_size=9), st.floats(0, 1))
def test_the_better_half_goes_on_and_the_best_always_is_as_good(
    losses: list[float], error: float
) -> None:
    best = min(losses)
    excesses = tuple(loss - best for loss in losses)
    left = survivors(Comparison(tuple(losses), excesses, (error,) * len(losses)))
    assert len(left) == max(1, len(losses) // 2)
    assert left == sorted(left)
    if len(left) > 1:
        assert max(losses[k] for k in left) <= sorted(losses)[len(left) - 1]
    else:
        assert excesses[left[0]] <= error
        assert all(excesses[k] > error for k in range(left[0] + 1, len(losses)))


class Devices:
    """Devices that add their number to every value, and lose less the narrower a model is."""

    def __init__(self, graph: Graph, development: int = 10) -> None:
        self.graph = graph
        self.development = development
        self.trained: list[dict[int, float]] = []
        self.progress: set[float | None] = set()

    def ask(
        self,
        phase: Phase,
        packets: Mapping[int, Packet],
        read: Callable[[int, Packet], object],
    ) -> dict[int, object]:
        if phase is Phase.TRAIN:
            self.trained.append({k: part_width(packet) for k, packet in packets.items()})
        return {k: read(k, self._answer(phase, k, packet)) for k, packet in packets.items()}

    def _answer(self, phase: Phase, k: int, packet: Packet) -> Packet:
        width = part_width(packet)
        graph = block_of(self.graph, width).graph
        if phase is Phase.CANDIDATE_LOSSES:
            assert CandidatesTask.read(graph, packet).pool.size == 1
            sums = np.array([self.development * (width + k)])
            return CandidateLosses(sums, self.development).packet()
        task = TrainTask.read(graph, packet)
        self.progress.add(task.progress)
        model = task.model
        weights = {
            name: SparseTensor(one.mask, one.values + k) for name, one in model.weights.items()
        }
        result = TrainResult(SparseModel(weights, model.dense), 10 * (k + 1), 1.0, {}, None)
        return result.packet(graph)


def race_of(devices: Devices) -> Race:
    trials = Trials(WHOLE, lambda _: [0, 1, 2], devices.ask, lambda _: {}, Combiner())
    return Race(trials, unnormalized(6), BnPooling.POOLED)


def racers_of(graph: Graph, *widths: float) -> list[Racer]:
    found = []
    for width in widths:
        block = block_of(graph, width)
        model = random_model(block.graph, 0.2)
        counts = {name: weight.nnz for name, weight in model.weights.items()}
        found.append(Racer(Shape(Tier(width, 0.2), counts, 0), block, model))
    return found


def test_every_racer_has_a_round_of_federated_averaging() -> None:
    devices = Devices(WATCH)
    before = racers_of(WATCH, 1.0, 0.5)
    after = race_of(devices).train(before, 1, 0.25)
    assert devices.progress == {0.25}
    assert devices.trained == [{0: 1.0, 1: 0.5, 2: 1.0}, {0: 0.5, 1: 1.0, 2: 0.5}]
    mean = (0 * 10 + 1 * 20 + 2 * 30) / 60
    for old, new in zip(before, after, strict=True):
        for name, weight in old.model.weights.items():
            assert new.model.weights[name].mask == weight.mask
            assert new.model.weights[name].values == pytest.approx(weight.values + mean, abs=1e-5)


def test_differences_between_devices_are_no_noise() -> None:
    found = race_of(Devices(WATCH)).compare(racers_of(WATCH, 1.0, 0.5))
    assert found.losses == pytest.approx((2.0, 1.5))
    assert found.excesses == pytest.approx((0.5, 0.0))
    assert found.errors == pytest.approx((0.0, 0.0), abs=1e-9)


def test_without_development_samples_nobody_can_compare() -> None:
    with pytest.raises(SelectionError, match=r"data\.development_fraction"):
        race_of(Devices(WATCH, development=0)).compare(racers_of(WATCH, 1.0, 0.5))


def test_simulated_time_and_other_parts_are_refused(tiny_config: Configure) -> None:
    with pytest.raises(ConfigError, match="train the whole model"):
        tiny_config("pruning.method=fedshape", "tiers.policy=nested")
    with pytest.raises(ConfigError, match=r"set clock\.mode = 'off'"):
        tiny_config(
            "pruning.method=fedshape",
            "devices.fleet='sims/fleets/watch.toml'",
            "clock.mode=synchronous",
        )


SETTINGS = (
    "model.name=smartwatch_cnn@16",
    "pruning.method=fedshape",
    "pruning.density=0.05",
    "pruning.shapes=4",
    "pruning.heat_rounds=1",
)


def test_all_train_the_shape_that_won(tiny_config: Configure, tmp_path: Path) -> None:
    config = tiny_config(*SETTINGS, "devices.fleet=['pi_4', 'pi_5']")
    folder = federate(config, tmp_path / "run")
    story = folder.events(ModelPrepared)[0].story["race"]
    assert [len(heat["widths"]) for heat in story["heats"]] == [4, 2]
    assert story["laps"] == FedShapeSettings(heat_rounds=1).laps(4) == config.method.laps == 6
    (last,) = story["heats"][-1]["left"]
    width = story["heats"][-1]["widths"][last]
    given = {one.partition: one.tier.width for one in folder.events(TierGiven)}
    assert set(given.values()) == {width}
    graph = TrainedModel.load(folder.model).graph
    assert graph.layers[0].out_channels == round(16 * width)
    laps = [e for e in folder.events(Exchanged) if e.phase is Phase.TRAIN and e.round == 0]
    assert len(laps) == 6
    assert write(folder)["race"] == story
    assert "every device trained every shape" in (folder.path / "report.md").read_text(
        encoding="utf-8"
    )
    again = federate(config, tmp_path / "again")
    assert again.model.read_bytes() == folder.model.read_bytes()


def test_shapes_that_some_device_cannot_hold_do_not_race(
    tiny_config: Configure, tmp_path: Path
) -> None:
    config = tiny_config(
        *SETTINGS, "devices.fleet=['pi_4', 'pi_5']", "devices.budget_bytes={1 = 300000}"
    )
    folder = federate(config, tmp_path)
    held = {one.partition: one.tier for one in folder.events(DeviceDescribed)}
    largest = held[1]
    assert largest is not None
    assert largest.width < 1 == held[0].width  # type: ignore[union-attr]
    heats = folder.events(ModelPrepared)[0].story["race"]["heats"]
    assert heats[0]["widths"][0] == largest.width


def test_a_device_trains_at_the_rate_that_a_task_names(
    tiny_config: Configure, tmp_path: Path
) -> None:
    """The last rate of a falling schedule is the first of one that begins there."""
    falling, low = "training.final_learning_rate=0.01", "training.learning_rate=0.01"
    shares, graph = tmp_path / "data", tiny_config().graph((6, 1, 128), 7)
    found = []
    for config, progress in ((tiny_config(falling), 1.0), (tiny_config(falling, low), 0.0)):
        deal_into(shares, config.data, config.seed)
        device = Device(
            config,
            0,
            client_file(shares, 0),
            config.devices.board(0),
            str(JoinTask(graph).packet().scalars["graph"]),
        )
        task = TrainTask(1, random_model(graph, 0.2), unnormalized(6), {}, False, progress)
        found.append(handlers.train(device, task.packet(graph)).arrays["values"])
    np.testing.assert_array_equal(*found)
