"""Clients that fail or lie: named, refused, and survived up to ``max_failures``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, RecordDict
from flwr.clientapp import ClientApp
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import handlers
from clients.app import client_app as make_app
from clients.device import Device
from clients.handlers import HANDLERS, Handler
from clients.records import to_packet, to_record
from fedtiny.config import RunConfig
from fedtiny.data.simulated import deal_into
from fedtiny.errors import FedTinyError
from fedtiny.methods.device import DeviceHalf
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.events import Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sparse.packing import pack_masks
from fedtiny.sparse.tensor import Mask, SparseTensor
from fedtiny.training.local import LocalUpdate
from fedtiny.wire.packet import Array as PacketArray
from fedtiny.wire.packet import Packet, WireError
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult, TrainTask
from sims.grids.inline import InlineGrid
from strategies.app import run
from strategies.exchange import FederationError

BAD = 3
"""The partition that misbehaves."""

QUICK = ("devices.fleet=[]", "pretraining.epochs=0", "pruning.selection=none")

Configure = Callable[..., RunConfig]


def answer(device: Device, packet: Packet, grow_present: bool = False) -> TrainResult:
    """As a client that trained to the constant ``partition`` on ``partition + 1`` samples."""
    task = TrainTask.read(device.graph, packet)
    weights = {
        name: SparseTensor(one.mask, np.full(one.nnz, device.partition, np.float32))
        for name, one in task.model.weights.items()
    }
    growth = {}
    for name, quota in task.quotas.items():
        mask = task.model.masks[name]
        found = (mask.indices if grow_present else mask.complement())[:quota].astype(np.int32)
        growth[name] = (found, np.ones(len(found), np.float32))
    model = SparseModel(weights, task.model.dense)
    return TrainResult(model, device.partition + 1, 0.5, growth, None)


def packed(device: Device, result: TrainResult) -> Packet:
    """The reply as a device of FedTiny sends it."""
    update = LocalUpdate(result.model, result.count, result.loss, result.found)
    return result.packet(device.graph, DeviceHalf().pack(device.graph, update))


def honest(device: Device, packet: Packet) -> Packet:
    return packed(device, answer(device, packet))


def raises(device: Device, packet: Packet) -> Packet:
    raise RuntimeError("sensor unplugged")


def grows_present(device: Device, packet: Packet) -> Packet:
    return packed(device, answer(device, packet, grow_present=True))


def grows_outside(device: Device, packet: Packet) -> Packet:
    """The largest tensor a growth index can name is one row larger than the layer has."""
    result = answer(device, packet)
    masks = {}
    for name in result.found:
        rows, *rest = device.graph.layer(name).weight_shape
        size = (rows + 1) * int(np.prod(rest))
        masks[name] = Mask((rows + 1, *rest), np.array([size - 1], np.int32))
    count = np.ones(len(masks), np.float32)
    changes = {"growth_indices": pack_masks(masks), "growth_values": count}
    return with_arrays(packed(device, result), **changes)


def grows_too_much(device: Device, packet: Packet) -> Packet:
    result = answer(device, packet)
    present = TrainTask.read(device.graph, packet).model.masks
    growth = {
        name: (present[name].complement(), np.ones(present[name].size - present[name].nnz))
        for name in result.found
    }
    return packed(device, dataclasses.replace(result, found=growth))


def with_arrays(packet: Packet, **arrays: PacketArray) -> Packet:
    return Packet({**packet.arrays, **arrays}, packet.scalars)


def changed(name: str, change: Callable[[PacketArray], PacketArray]) -> Handler:
    """Honest but for one array."""

    def handler(device: Device, packet: Packet) -> Packet:
        reply = honest(device, packet)
        return with_arrays(reply, **{name: change(reply.arrays[name])})

    return handler


def scalar(**scalars: float) -> Handler:
    """Honest but for a scalar."""

    def handler(device: Device, packet: Packet) -> Packet:
        reply = honest(device, packet)
        return Packet(reply.arrays, {**reply.scalars, **scalars})

    return handler


def without(name: str) -> Handler:
    """Honest but for an array that is not sent."""

    def handler(device: Device, packet: Packet) -> Packet:
        reply = honest(device, packet)
        return Packet({k: v for k, v in reply.arrays.items() if k != name}, reply.scalars)

    return handler


def nan(array: PacketArray) -> PacketArray:
    return np.where(np.arange(array.size) == 7, np.float32(np.nan), array)


LIES: dict[str, tuple[Handler, str]] = {
    "raises": (raises, "RuntimeError: sensor unplugged"),
    "nan values": (changed("values", nan), "values: contains NaN or infinity"),
    "nan statistics": (changed("dense", nan), "dense: contains NaN or infinity"),
    "too short": (changed("values", lambda a: a[:-1]), "values: expected float32("),
    "wrong rank": (changed("values", lambda a: a[None]), "values: expected float32("),
    "wrong dtype": (changed("values", lambda a: a.astype(np.float64)), "got float64("),
    "integers": (changed("dense", lambda a: a.astype(np.int32)), "got int32("),
    "missing": (without("values"), "values: missing"),
    "growth missing": (without("growth_indices"), "growth_indices: missing"),
    "growth present": (grows_present, "reports weights that are present"),
    "growth outside": (grows_outside, "indices must ascend strictly within"),
    "growth too much": (grows_too_much, "asked for"),
    "growth nan": (changed("growth_values", nan), "growth_values: contains NaN"),
    "growth cut": (changed("growth_indices", lambda a: a[:-1]), "corrupt"),
    "no samples": (scalar(count=0), "trained on 0 samples"),
    "fraction of a sample": (scalar(count=1.5), "count: expected an integer"),
    "nan loss": (scalar(loss=float("nan")), "loss: expected a finite number"),
}


def client_app(train: Handler = honest, join: Handler = handlers.join) -> ClientApp:
    """The real app, but training takes no time, and partition ``BAD`` does what it is told."""

    def chosen(device: Device, packet: Packet) -> Packet:
        return (train if device.partition == BAD else honest)(device, packet)

    return make_app({**HANDLERS, Phase.TRAIN: chosen, Phase.JOIN: join})


class LossyGrid(InlineGrid):
    """Never delivers some messages, and hides some nodes."""

    def __init__(
        self,
        app: ClientApp,
        config: RunConfig,
        folder: RunFolder,
        lost: Callable[[Message], bool] = lambda message: False,
        hidden: int = 0,
    ) -> None:
        folder.create(config)
        deal_into(folder.data, config.data, config.seed)
        settings = {"config": str(folder.config), "overrides": "[]", "out": str(folder.path)}
        super().__init__(app, config.data.partitions, settings)
        self._lost = lost
        self._hidden = hidden
        self._black_hole: set[str] = set()

    def get_node_ids(self) -> Iterable[int]:
        return list(super().get_node_ids())[self._hidden :]

    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        messages = list(messages)
        ids = list(super().push_messages(messages))
        pairs = zip(ids, messages, strict=True)
        self._black_hole |= {one for one, message in pairs if self._lost(message)}
        return ids

    def pull_messages(self, message_ids: Iterable[str]) -> Iterator[Message]:
        yield from super().pull_messages([x for x in message_ids if x not in self._black_hole])


def federate(config: RunConfig, folder: Path, app: ClientApp) -> TrainedModel:
    run_folder = RunFolder(folder)
    return run(config, LossyGrid(app, config, run_folder), run_folder, resume=False)


@pytest.mark.parametrize("lie", LIES)
def test_a_lying_client_is_named_and_stops_the_run(
    lie: str, tiny_config: Configure, tmp_path: Path
) -> None:
    handler, words = LIES[lie]
    with pytest.raises(FederationError) as caught:
        federate(tiny_config(*QUICK), tmp_path, client_app(handler))
    message = str(caught.value)
    assert message.startswith("round 1, train: 1 client(s) failed, federation.max_failures = 0. ")
    assert f"client {BAD}: " in message
    assert words in message
    failures = [e.failures for e in RunFolder(tmp_path).events(Exchanged) if e.failures]
    assert [[one.partition for one in each] for each in failures] == [[BAD]]


@pytest.mark.parametrize("lie", ["raises", "nan values", "too short"])
def test_the_others_go_on_and_only_they_are_averaged(
    lie: str, tiny_config: Configure, tmp_path: Path
) -> None:
    one_round = ("federation.rounds=1", "pruning.stop=1", "federation.max_failures=1")
    config = tiny_config(*QUICK, *one_round)
    trained = federate(config, tmp_path, client_app(LIES[lie][0]))
    others = [k for k in range(config.data.partitions) if k != BAD]
    expected = sum(k * (k + 1) for k in others) / sum(k + 1 for k in others)
    for weight in trained.model.weights.values():
        np.testing.assert_allclose(weight.values, expected, rtol=1e-6)
    (train,) = [e for e in RunFolder(tmp_path).events(Exchanged) if e.phase is Phase.TRAIN]
    assert (train.asked, train.answered) == (8, 7)


def test_a_client_that_never_answers_is_named(tiny_config: Configure, tmp_path: Path) -> None:
    config = tiny_config(*QUICK, "federation.timeout_s=1")
    folder = RunFolder(tmp_path)

    def lost(message: Message) -> bool:
        return message.metadata.message_type == Phase.TRAIN.action and (
            message.metadata.dst_node_id == BAD + 1
        )

    grid = LossyGrid(client_app(), config, folder, lost)
    with pytest.raises(FederationError, match=f"round 1, train: .*client {BAD}: no reply within 1"):
        run(config, grid, folder, resume=False)


def test_if_nobody_answers_the_run_stops_whatever_is_tolerated(
    tiny_config: Configure, tmp_path: Path
) -> None:
    config = tiny_config(*QUICK, "federation.timeout_s=1", "federation.max_failures=8")
    folder = RunFolder(tmp_path)
    grid = LossyGrid(client_app(), config, folder, lambda m: m.metadata.message_type == "train")
    with pytest.raises(FederationError, match="round 1, train: 8 client"):
        run(config, grid, folder, resume=False)


def test_a_node_that_never_appears(tiny_config: Configure, tmp_path: Path) -> None:
    config = tiny_config(*QUICK, "federation.timeout_s=0.5")
    folder = RunFolder(tmp_path)
    with pytest.raises(FederationError, match=r"7 of 8 nodes connected within .*SuperNodes"):
        run(config, LossyGrid(client_app(), config, folder, hidden=1), folder, resume=False)


def test_two_nodes_with_one_partition(tiny_config: Configure, tmp_path: Path) -> None:
    def join(device: Device, packet: Packet) -> Packet:
        return Packet(scalars={"partition": 0 if device.partition == BAD else device.partition})

    with pytest.raises(FederationError, match=r"nodes .* both hold partition 0; give each"):
        federate(tiny_config(*QUICK, "federation.timeout_s=1"), tmp_path, client_app(join=join))


def test_a_partition_nobody_holds(tiny_config: Configure, tmp_path: Path) -> None:
    def join(device: Device, packet: Packet) -> Packet:
        return Packet(scalars={"partition": 11 if device.partition == BAD else device.partition})

    with pytest.raises(FederationError, match=f"no node holds partition {BAD}; start one"):
        federate(tiny_config(*QUICK, "federation.timeout_s=1"), tmp_path, client_app(join=join))


@settings(max_examples=100, deadline=None)
@given(
    dtype=st.sampled_from(["float32", "float64", "object", "nonsense", ""]),
    shape=st.lists(st.integers(-1, 5), max_size=2),
    stype=st.sampled_from(["numpy.ndarray", "torch.Tensor", ""]),
    data=st.binary(max_size=200),
)
def test_bytes_that_are_no_array_are_a_wire_error(
    dtype: str, shape: list[int], stype: str, data: bytes
) -> None:
    array = Array(dtype=dtype, shape=tuple(shape), stype=stype, data=data)
    record = RecordDict({"arrays": ArrayRecord({"values": array}), "scalars": ConfigRecord()})
    with pytest.raises(WireError, match="values"):
        to_packet(record)


@settings(max_examples=200, deadline=None)
@given(garbage=st.binary(max_size=60))
def test_garbage_growth_indices_never_crash_the_server(garbage: bytes) -> None:
    """Whatever bytes arrive: growth that keeps to the rules, or an error a user can read."""
    from fedtiny.models import build
    from fedtiny.sparse.packing import unpack_masks

    graph = build("smartwatch_cnn", (6, 1, 128), 7)
    shapes = {name: graph.layer(name).weight_shape for name in ("conv2", "conv4")}
    try:
        masks = unpack_masks(np.frombuffer(garbage, np.uint8), shapes)
    except FedTinyError:
        return
    assert all(mask.indices.max(initial=0) < mask.size for mask in masks.values())


def test_a_record_survives_the_trip(assume_identity: None) -> None:
    packet = Packet({"values": np.arange(3, dtype=np.float32)}, {"count": 2, "device": "pi_4"})
    back = to_packet(to_record(packet))
    assert back.scalars == packet.scalars
    assert back.arrays["values"].tobytes() == packet.arrays["values"].tobytes()
