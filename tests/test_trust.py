"""Scripted liars: what one of eight devices can do to the others' model, and what it cannot."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp
from hypothesis import given
from hypothesis import strategies as st
from test_faults import LossyGrid

from clients.app import client_app, respond
from clients.device import Device
from clients.handlers import HANDLERS, Handler
from fedtiny.aggregation.bounds import capped_counts
from fedtiny.aggregation.combiner import Combine, Combiner
from fedtiny.aggregation.mean import AggregateError, weighted_mean
from fedtiny.config import RunConfig
from fedtiny.report import write
from fedtiny.runs.events import Banned, Doubted, Evaluated, Exchanged, NodeIgnored
from fedtiny.runs.folder import RunFolder
from fedtiny.sparse.tensor import Mask, SparseTensor
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult
from strategies.app import run
from strategies.exchange import FederationError

BAD = 3
"""The partition of the liar."""

ROUNDS = 6

Configure = Callable[..., RunConfig]
Lie = Callable[[Device, Packet, Packet], Packet]
"""(device, task, honest reply) to what is sent instead."""


def update(factor: float) -> Lie:
    """The honest change of every value, times ``factor``."""

    def lie(device: Device, task: Packet, reply: Packet) -> Packet:
        arrays = dict(reply.arrays)
        for name in ("values", "dense"):
            sent = task.arrays[name]
            arrays[name] = (sent + factor * (arrays[name] - sent)).astype(np.float32)
        variances = _variances(device, arrays["dense"])
        arrays["dense"] = np.where(variances, np.abs(arrays["dense"]), arrays["dense"])
        return replace(reply, arrays=arrays)

    return lie


def _variances(device: Device, dense: np.ndarray) -> np.ndarray:
    rows = [row for row in device.graph.parameter_table if not row.prunable]
    flags = [np.full(int(np.prod(r.shape)), r.name.endswith("running_var")) for r in rows]
    assert sum(map(len, flags)) == len(dense)
    return np.concatenate(flags)


def scalars(**values: float) -> Lie:
    return lambda device, task, reply: replace(reply, scalars={**reply.scalars, **values})


def constant(name: str, value: float) -> Lie:
    """Every value of an array replaced."""

    def lie(device: Device, task: Packet, reply: Packet) -> Packet:
        array = np.full_like(reply.arrays[name], value)
        return replace(reply, arrays={**reply.arrays, name: array})

    return lie


def zeros_with_count(count: float) -> Lie:
    def lie(device: Device, task: Packet, reply: Packet) -> Packet:
        arrays = {k: np.zeros_like(v) if k in ("values",) else v for k, v in reply.arrays.items()}
        return Packet(arrays, {**reply.scalars, "count": count})

    return lie


def negative_variance(device: Device, task: Packet, reply: Packet) -> Packet:
    dense = reply.arrays["dense"]
    lied = np.where(_variances(device, dense), -dense, dense)
    return replace(reply, arrays={**reply.arrays, "dense": lied})


def favourite(device: Device, task: Packet, reply: Packet) -> Packet:
    """10⁵ nats a sample for every candidate but the last."""
    losses = np.full_like(reply.arrays["loss_sums"], 1e5 * reply.scalars["count"])
    losses[-1] = 0
    return replace(reply, arrays={"loss_sums": losses})


def stuck(device: Device, task: Packet, reply: Packet) -> Packet:
    """A sensor at full scale: consistent statistics of what nobody else sees."""
    count = int(reply.scalars["readings"])
    full = np.full(reply.arrays["statistics"].shape[1], 2**15 - 1, np.int64)
    table = np.stack([full * count, full**2 * count, full, full])
    return replace(reply, arrays={**reply.arrays, "statistics": table})


def huge_statistics(device: Device, task: Packet, reply: Packet) -> Packet:
    table = np.full_like(reply.arrays["statistics"], 2**62)
    return replace(reply, arrays={**reply.arrays, "statistics": table})


def escape_codes(device: Device, task: Packet, reply: Packet) -> Packet:
    return replace(reply, scalars={**reply.scalars, "device": "\x1b[2J pi"})


def long_name(device: Device, task: Packet, reply: Packet) -> Packet:
    return replace(reply, scalars={**reply.scalars, "device": "x" * 2**20})


def extra_array(device: Device, task: Packet, reply: Packet) -> Packet:
    return replace(reply, arrays={**reply.arrays, "more": np.zeros(3, np.float32)})


SURVIVED: dict[str, tuple[Phase, Lie]] = {
    "update x100": (Phase.TRAIN, update(100)),
    "update x-10": (Phase.TRAIN, update(-10)),
    "update x-1": (Phase.TRAIN, update(-1)),
    "count 10^18": (Phase.TRAIN, scalars(count=10**18)),
    "zeros, count 10^18": (Phase.TRAIN, zeros_with_count(10**18)),
    "zeros": (Phase.TRAIN, zeros_with_count(50)),
    "count 10^300": (Phase.TRAIN, scalars(count=1e300)),
    "loss -10^308": (Phase.TRAIN, scalars(loss=-1e308)),
    "negative variance": (Phase.TRAIN, negative_variance),
    "values 10^30": (Phase.TRAIN, constant("values", 1e30)),
    "an array nobody asked for": (Phase.TRAIN, extra_array),
    "selection count 10^18": (Phase.CANDIDATE_LOSSES, scalars(count=10**18)),
    "selection count 0": (Phase.CANDIDATE_LOSSES, scalars(count=0)),
    "selection of its favourite": (Phase.CANDIDATE_LOSSES, favourite),
    "moments 10^30": (Phase.CANDIDATE_STATISTICS, constant("moments", 1e30)),
    "statistics 2^62": (Phase.DESCRIBE, huge_statistics),
    "readings 10^300": (Phase.DESCRIBE, scalars(readings=1e300)),
    "samples 10^18": (Phase.DESCRIBE, scalars(samples=10**18)),
    "sensor stuck": (Phase.DESCRIBE, stuck),
    "escape codes": (Phase.DESCRIBE, escape_codes),
    "a name of a megabyte": (Phase.DESCRIBE, long_name),
    "confusion 2^31": (Phase.EVALUATE, constant("confusion", 2**31 - 1)),
    "ranges 10^30": (Phase.CALIBRATE, constant("ranges", 1e30)),
}


WITHIN_BOUNDS = ("update x-1", "selection count 0", "selection of its favourite")
"""Lies that no honest device could be told apart from: nobody is blamed for them."""


def lying_app(phase: Phase, lie: Lie) -> ClientApp:
    """The real app, but the liar's answer in one phase is another."""

    def handler(device: Device, packet: Packet) -> Packet:
        reply = HANDLERS[phase](device, packet)
        return lie(device, packet, reply) if device.partition == BAD else reply

    return client_app({**HANDLERS, phase: handler})


def federate(config: RunConfig, folder: Path, app: ClientApp) -> RunFolder:
    run_folder = RunFolder(folder)
    run(config, LossyGrid(app, config, run_folder), run_folder, resume=False)
    return run_folder


def accuracy(folder: RunFolder) -> float:
    """Of people who took no part, after the last round."""
    last = [e for e in folder.events(Evaluated) if e.group == "unseen_people"]
    last = [e for e in last if e.round == ROUNDS]
    return sum(e.correct for e in last) / sum(e.count for e in last)


@pytest.fixture(scope="module")
def configure() -> Configure:
    from conftest import DEMO, TINY

    from fedtiny.config import load

    def make(*overrides: str) -> RunConfig:
        rounds = (f"federation.rounds={ROUNDS}", "federation.evaluate_every=100")
        rest = ("pruning.stop=2", "federation.max_failures=1", "training.epochs=2")
        return load(DEMO, [*TINY, *rounds, *rest, *overrides])

    return make


@pytest.fixture(scope="module")
def honest(configure: Configure, tmp_path_factory: pytest.TempPathFactory) -> float:
    app = client_app(HANDLERS)
    found = accuracy(federate(configure(), tmp_path_factory.mktemp("honest"), app))
    assert found > 0.6
    return found


QUICK = ("update x-10", "sensor stuck")
"""``make deploy-test`` runs the others."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(k, marks=() if k in QUICK else pytest.mark.deploy) for k in SURVIVED],
)
def test_one_liar_of_eight_costs_little_and_is_named_if_it_is_implausible(
    name: str, configure: Configure, honest: float, tmp_path: Path
) -> None:
    phase, lie = SURVIVED[name]
    folder = federate(configure(), tmp_path, lying_app(phase, lie))
    print(f"{name}: {accuracy(folder):.3f}, honest {honest:.3f}")
    assert accuracy(folder) > honest - 0.08
    assert blamed(folder) == (set() if name in WITHIN_BOUNDS else {BAD})


@pytest.mark.deploy
@pytest.mark.parametrize("combine", Combine)
def test_within_the_bounds_a_robust_mean_helps(
    combine: Combine, configure: Configure, honest: float, tmp_path: Path
) -> None:
    """Backwards, five times as far: just short of what is left out, round after round."""
    app = lying_app(Phase.TRAIN, update(-5))
    found = accuracy(federate(configure(f"trust.combine={combine}"), tmp_path, app))
    print(f"update x-5, {combine}: {found:.3f}, honest {honest:.3f}")
    assert combine is Combine.MEAN or found > honest - 0.08


def blamed(folder: RunFolder) -> set[int]:
    refused = {f.partition for e in folder.events(Exchanged) for f in e.failures if f.refused}
    return refused | {e.partition for e in folder.events(Doubted)}


@pytest.fixture
def quick(tiny_config: Configure) -> Configure:
    """Rounds of a moment: nothing is selected and nothing pre-trained."""
    rest = ("devices.fleet=[]", "pretraining.epochs=0", "pruning.selection=none")
    return lambda *overrides: tiny_config(*rest, "federation.max_failures=1", *overrides)


def test_after_its_last_offence_a_device_is_not_asked_again(
    quick: Configure, tmp_path: Path
) -> None:
    config = quick("federation.rounds=4", "trust.max_offences=2")
    folder = federate(config, tmp_path, lying_app(Phase.TRAIN, constant("values", 1e30)))
    (banned,) = folder.events(Banned)
    assert (banned.round, banned.partition, banned.offences) == (2, BAD, 2)
    trained = [e for e in folder.events(Exchanged) if e.phase is Phase.TRAIN]
    assert [(e.asked, e.answered) for e in trained] == [(8, 7), (8, 7), (7, 7), (7, 7)]
    assert all(str(BAD) in str(e.failures) for e in trained[:2])
    run_record = write(folder)
    assert [row["partition"] for row in run_record["failures"]] == [BAD, BAD]
    text = (folder.path / "report.md").read_text(encoding="utf-8")
    assert "## Who failed, or was not believed" in text
    assert text.count(f"| client {BAD} ") >= 2


def test_offences_outlive_a_restart(quick: Configure, tmp_path: Path) -> None:
    """A run that is resumed after an offence bans at the same one, with the same bytes."""
    app = lying_app(Phase.TRAIN, constant("values", 1e30))
    config = quick("federation.rounds=3", "trust.max_offences=2")
    whole = federate(config, tmp_path / "whole", app)
    parts = federate(config, tmp_path / "parts", app)
    for path in [*parts.checkpoints.glob("round-00003*"), parts.model]:
        path.unlink()
    run(config, LossyGrid(app, config, parts), parts, resume=True)
    assert parts.model.read_bytes() == whole.model.read_bytes()
    assert parts.events(Banned) == whole.events(Banned)


@pytest.mark.parametrize(("claimed", "words"), [(0, "both hold"), (2**40, "none of 0..7")])
def test_a_node_that_claims_another_partition_takes_no_part(
    claimed: int, words: str, quick: Configure, tmp_path: Path
) -> None:
    """Its own partition is then held by nobody: one failure, and the others go on."""
    app = lying_app(Phase.JOIN, scalars(partition=claimed))
    folder = federate(quick(), tmp_path / "tolerant", app)
    (ignored,) = folder.events(NodeIgnored)
    assert words in ignored.reason
    trained = [e for e in folder.events(Exchanged) if e.phase is Phase.TRAIN]
    assert [(e.asked, e.answered) for e in trained] == [(7, 7), (7, 7)]
    with pytest.raises(FederationError, match=f"no node holds partition {BAD}.*{words}"):
        federate(
            quick("federation.max_failures=0", "federation.timeout_s=1"), tmp_path / "strict", app
        )


def test_a_reply_to_another_round_is_refused(quick: Configure, tmp_path: Path) -> None:
    """A client that keeps its first answer and sends it again."""
    kept: list[RecordDict] = []

    def replaying(message: Message, context: Context, handler: Handler) -> Message:
        reply = respond(message, context, handler)
        if context.node_config["partition-id"] != BAD or handler is not HANDLERS[Phase.TRAIN]:
            return reply
        kept.append(reply.content)
        return Message(kept[0], reply_to=message)

    app = client_app(HANDLERS, replaying)
    folder = federate(quick("federation.rounds=3"), tmp_path, app)
    trained = [e for e in folder.events(Exchanged) if e.phase is Phase.TRAIN]
    assert [e.answered for e in trained] == [8, 7, 7]
    (failure,) = trained[1].failures
    assert (failure.partition, failure.refused) == (BAD, True)
    assert "train 1" in failure.reason
    assert "train 2" in failure.reason


def test_a_reply_without_its_task_is_refused(quick: Configure, tmp_path: Path) -> None:
    def forgetful(message: Message, context: Context, handler: Handler) -> Message:
        reply = respond(message, context, handler)
        if context.node_config["partition-id"] == BAD and handler is HANDLERS[Phase.TRAIN]:
            scalars = ConfigRecord(dict(reply.content["scalars"]))
            del scalars["task"]
            reply.content["scalars"] = scalars
        return reply

    folder = federate(quick(), tmp_path, client_app(HANDLERS, forgetful))
    assert blamed(folder) == {BAD}


def test_a_model_that_diverged_is_not_sent(quick: Configure, tmp_path: Path) -> None:
    """Seven of eight that go wild outvote every median: the run stops and says why."""

    def handler(device: Device, packet: Packet) -> Packet:
        reply = HANDLERS[Phase.TRAIN](device, packet)
        return constant("values", 9e5)(device, packet, reply)

    config = quick("trust.update_factor=0", "federation.rounds=1", "pruning.stop=1")
    app = client_app({**HANDLERS, Phase.TRAIN: handler})
    assert federate(config, tmp_path / "large", app).model.is_file(), "large, but finite"
    with pytest.raises(FederationError, match="lies beyond"):
        federate(config, tmp_path / "wild", lying_everywhere(constant("values", 2e6)))


def lying_everywhere(lie: Lie) -> ClientApp:
    def handler(device: Device, packet: Packet) -> Packet:
        return lie(device, packet, HANDLERS[Phase.TRAIN](device, packet))

    return client_app({**HANDLERS, Phase.TRAIN: handler})


arrays = st.lists(st.lists(st.floats(-99, 99, width=32), min_size=3, max_size=3), min_size=1)


@given(arrays, st.sampled_from([Combine.MEDIAN, Combine.TRIMMED_MEAN]), st.floats(0, 0.49))
def test_a_robust_mean_lies_within_the_values_and_knows_no_order(
    rows: list[list[float]], combine: Combine, trim: float
) -> None:
    stacked = [np.array(row, np.float32) for row in rows]
    combiner = Combiner(combine, trim)
    middle = combiner.dense(stacked, [1] * len(stacked))
    assert (middle >= np.min(stacked, axis=0)).all()
    assert (middle <= np.max(stacked, axis=0)).all()
    np.testing.assert_array_equal(middle, combiner.dense(stacked[::-1], [1] * len(stacked)))
    if combine is Combine.MEDIAN:
        np.testing.assert_allclose(middle, np.median(stacked, axis=0), rtol=1e-6, atol=1e-6)


@given(arrays, st.sampled_from(Combine))
def test_sparse_and_dense_agree_where_everybody_holds_everything(
    rows: list[list[float]], combine: Combine
) -> None:
    mask = Mask((3,), np.arange(3, dtype=np.int32))
    stacked = [np.array(row, np.float32) for row in rows]
    counts = list(range(1, len(rows) + 1))
    combiner = Combiner(combine, 0.25)
    sparse = combiner.sparse([SparseTensor(mask, row) for row in stacked], counts)
    np.testing.assert_allclose(sparse.values, combiner.dense(stacked, counts), rtol=1e-5, atol=1e-5)


def test_a_median_is_over_those_that_hold_the_weight() -> None:
    """By hand: position 0 is held by three (1, 2, 30), position 4 by one (7)."""
    held = [([0], [1.0]), ([0, 4], [2.0, 7.0]), ([0], [30.0])]
    tensors = [
        SparseTensor(Mask((5,), np.array(i, np.int32)), np.array(v, np.float32)) for i, v in held
    ]
    median = Combiner(Combine.MEDIAN).sparse(tensors, [1, 1, 10**6])
    assert median.mask.indices.tolist() == [0, 4]
    assert median.values.tolist() == [2.0, 7.0]


def test_no_claim_weighs_more_than_ten_median_devices() -> None:
    def result(count: int) -> TrainResult:
        return TrainResult(None, count, 0.5, {}, None)  # type: ignore[arg-type]

    claims: Mapping[int, TrainResult] = {0: result(40), 1: result(50), 2: result(10**9)}
    assert [one.count for one in capped_counts(claims, 10).values()] == [40, 50, 500]
    assert [one.count for one in capped_counts(claims, 0).values()] == [40, 50, 10**9]
    two = {0: result(1), 1: result(10**9)}
    assert capped_counts(two, 10) == two, "two cannot say which of them is odd"


def test_a_mean_of_what_is_not_finite_is_an_error() -> None:
    with pytest.raises(AggregateError):
        weighted_mean([np.array([np.inf], np.float32)], [1])
