"""What every method owes: its budget, exact zeros, the same bytes again, a resume, known kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import DEMO, TINY

from fedtiny.config import RunConfig, load
from fedtiny.federation.parts import Parts
from fedtiny.federation.state import CheckpointStore, ServerState
from fedtiny.methods import METHODS
from fedtiny.methods.device import DeviceHalf
from fedtiny.methods.fedmef import FedMef
from fedtiny.methods.method import Adjusted, RoundEnd
from fedtiny.models.graph import Graph
from fedtiny.models.narrow import value_bytes
from fedtiny.report.words import DEPARTURES
from fedtiny.runs.events import Adjusted as MasksAdjusted
from fedtiny.runs.events import Event, Exchanged, ModelPrepared, RoundFinished
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.metrics import Recording
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.tiers.equal_bytes import equal_bytes
from fedtiny.wire.models import model_arrays
from fedtiny.wire.phase import Phase
from sims.backends import Backend, run_federation
from strategies.observer import Observer

ROUNDS = 4
ADJUSTING = (1, 2)
"""Rounds that adjust masks: the cosine of R_stop = 3 leaves nothing for round 3 itself."""

SMALL = (
    "training.learning_rate=0.1",
    "training.batch_size=8",
    "model.name=smartwatch_cnn@8",
    "data.limit=200",
    "devices.fleet=[]",
    "pretraining.epochs=1",
    "pruning.density=0.1",
    "pruning.interval=1",
    "pruning.stop=3",
    f"federation.rounds={ROUNDS}",
    f"federation.evaluate_every={ROUNDS}",
)

Configure = Callable[..., RunConfig]


class _StoppedError(Exception):
    pass


class _Stop(Observer):
    """Pulls the plug in the second adjusting round, before its checkpoint is written."""

    def on_event(self, event: Event) -> None:
        if isinstance(event, RoundFinished) and event.round == ADJUSTING[-1]:
            raise _StoppedError


def recorded_states(patch: pytest.MonkeyPatch) -> list[ServerState]:
    """Fills up with every state that is saved while the patch holds, in order."""
    saved: list[ServerState] = []
    save = CheckpointStore.save

    def record(store: CheckpointStore, state: ServerState) -> None:
        saved.append(state)
        save(store, state)

    patch.setattr(CheckpointStore, "save", record)
    return saved


@pytest.fixture
def states(monkeypatch: pytest.MonkeyPatch) -> list[ServerState]:
    """Every state that runs of this test saved, in order."""
    return recorded_states(monkeypatch)


def federate(config: RunConfig, path: Path, resume: bool = False, stop: bool = False) -> Recording:
    folder = RunFolder(path)
    run_federation(config, folder, Backend.INLINE, resume, [_Stop()] if stop else [])
    return folder.recording()


@dataclass(frozen=True)
class Whole:
    """One run of a method, from beginning to end.

    Attributes:
        config: of the run.
        states: every one that was saved, in order.
        events: what it recorded.
        model: the bytes of its model file.
    """

    config: RunConfig
    states: Sequence[ServerState]
    events: Recording
    model: bytes


@pytest.fixture(scope="module", params=METHODS)
def whole(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Whole:
    config = load(DEMO, [*TINY, *SMALL, f"pruning.method={request.param}"])
    path = tmp_path_factory.mktemp(request.param)
    with pytest.MonkeyPatch.context() as patch:
        saved = recorded_states(patch)
        events = federate(config, path)
    return Whole(config, saved, events, RunFolder(path).model.read_bytes())


def test_a_method_keeps_its_budget(whole: Whole) -> None:
    assert [state.round for state in whole.states] == list(range(ROUNDS + 1))
    check_budget(whole.config, whole.config.method.name, whole.states)


def test_absent_weights_are_exactly_zero_and_masks_change_when_they_may(whole: Whole) -> None:
    check_masks(whole.config, whole.states)


def test_devices_send_what_the_method_says(whole: Whole) -> None:
    check_kinds(whole.config.method.name, whole.events)


def test_a_run_that_was_stopped_ends_with_the_same_bytes(whole: Whole, tmp_path: Path) -> None:
    with pytest.raises(_StoppedError):
        federate(whole.config, tmp_path, stop=True)
    federate(whole.config, tmp_path, resume=True)
    assert RunFolder(tmp_path).model.read_bytes() == whole.model


def check_budget(config: RunConfig, method: str, states: Sequence[ServerState]) -> None:
    graph = config.graph((6, 1, 128), 7)
    if method == "narrow":
        wide = config.model.build((6, 1, 128), 7, config.seed)
        assert value_bytes(graph) <= value_bytes(wide, config.pruning.density)
    if config.method.dense_model:
        assert all(state.model.density == 1 for state in states)
        return
    if method == "fedshape":
        check_bytes(config, graph, states)
        return
    for state in states:
        assert 0 < state.model.density <= config.pruning.density
        # Nothing is wasted either: only PruneFL may settle for less.
        if method != "prunefl":
            assert state.model.nnz == states[0].model.nnz
            assert state.model.density > 0.97 * config.pruning.density
        assert all(weight.nnz for weight in state.model.weights.values())


def check_bytes(config: RunConfig, graph: Graph, states: Sequence[ServerState]) -> None:
    """The budget is of bytes: the model that is sent takes those of the whole one's sparse form."""
    budget = equal_bytes(graph, config.pruning.density, 1)[0].bytes
    for state in states:
        parts = Parts(graph, config.tier_policy, state.tiers)
        (tier,) = parts.kinds
        part = parts.model(state.model, state.statistics, state.ranks, tier, 1)
        sent = model_arrays(parts.block(tier, 1).graph, part)
        assert part.nnz == state.model.nnz == states[0].model.nnz
        taken = sum(array.nbytes for array in sent.values())
        assert taken < 1.01 * budget
        # A dense net has whole channels: the widest that fits may leave bytes over.
        assert part.density == 1 or taken > 0.95 * budget


def check_masks(config: RunConfig, states: Sequence[ServerState]) -> None:
    method = config.method
    changed = 0
    for before, after in pairwise(states):
        for name, weight in after.model.weights.items():
            old = before.model.weights[name].mask.indices
            new = np.setdiff1d(weight.mask.indices, old, assume_unique=True)
            changed += len(new)
            dense = weight.to_dense().ravel()
            assert np.count_nonzero(np.delete(dense, weight.mask.indices)) == 0
            if not method.device.changes_masks and not method.remasks:
                assert not dense[new].any(), "a weight enters at 0"
            if method.name not in ("prunefl", "fiarse"):
                assert weight.nnz == len(old), "layers keep their number of weights"
        if method.remasks:
            continue
        assert method.adjusts or np.array_equal(_positions(before), _positions(after))
        if after.round not in ADJUSTING:
            assert np.array_equal(_positions(before), _positions(after))
    assert bool(changed) == (method.adjusts or method.remasks)


def _positions(state: ServerState) -> np.ndarray:
    return np.concatenate([mask.indices for mask in state.model.masks.values()])


def check_kinds(method: str, events: Recording) -> None:
    kind = METHODS[method]
    exchanges = events.of(Exchanged)
    for exchange in exchanges:
        assert set(exchange.up.kinds) <= set(DEPARTURES)
        if exchange.phase is Phase.TRAIN:
            expected = {"values", "dense", "count", "loss"}
            if exchange.round in ADJUSTING and kind.adjusts:
                expected |= set(kind.device_type.sends)
            assert set(exchange.up.kinds) == expected
    adjusted = [event.round for event in events.of(MasksAdjusted)]
    assert adjusted == (list(ADJUSTING) if kind.adjusts else [])
    assert any(x.phase is Phase.SALIENCY for x in exchanges) == (method == "ssfl")
    assert events.of(ModelPrepared)[0].story["method"] == method


def test_a_narrow_model_is_found_again_by_its_file(tiny_config: Configure, tmp_path: Path) -> None:
    config = tiny_config(*SMALL, "pruning.method=narrow", "federation.rounds=3")
    federate(config, tmp_path)
    trained = TrainedModel.load(RunFolder(tmp_path).model)
    assert trained.graph == config.graph((6, 1, 128), 7)
    assert trained.graph.name.startswith("smartwatch_cnn@")


def test_dense_gradients_and_scores_are_counted_in_full(
    tiny_config: Configure, tmp_path: Path
) -> None:
    """PruneFL's and SSFL's reports are as large as the model: 4 B for every prunable weight."""
    graph = tiny_config(*SMALL).graph((6, 1, 128), 7)
    weights = sum(int(np.prod(layer.weight_shape)) for layer in graph.prunable_layers)
    for method, phase, kind in (
        ("prunefl", Phase.TRAIN, "squared_gradients"),
        ("ssfl", Phase.SALIENCY, "scores"),
    ):
        config = tiny_config(*SMALL, f"pruning.method={method}")
        events = federate(config, tmp_path / method)
        up = next(e.up for e in events.of(Exchanged) if e.phase is phase)
        assert up.kinds[kind] == 4 * weights * config.data.partitions


@pytest.mark.parametrize("method", ["magnitude", "feddst"])
def test_the_proximal_term_holds_devices_back_under_any_method(
    method: str, tiny_config: Configure, tmp_path: Path, states: list[ServerState]
) -> None:
    moved = []
    for mu in (0.0, 5.0):
        states.clear()
        overrides = (f"pruning.method={method}", f"training.proximal_mu={mu}")
        federate(tiny_config(*SMALL, *overrides), tmp_path / str(mu))
        first, last = states[0].model.dense, states[-1].model.dense
        moved.append(float(np.linalg.norm(last["conv1.weight"] - first["conv1.weight"])))
    assert 0 < moved[1] < 0.8 * moved[0]


def test_fedmef_devices_shrink_the_weights_about_to_go(
    tiny_config: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server prunes smaller weights the stronger devices were told to extrude them."""
    pruned = []
    adjust = FedMef.adjust

    def record(method: FedMef, end: RoundEnd) -> Adjusted:
        adjusted = adjust(method, end)
        if end.round == ADJUSTING[0]:
            before, after = end.model.weights["conv3"], adjusted.model.weights["conv3"]
            gone = np.isin(before.mask.indices, after.mask.indices, invert=True)
            pruned.append(float(np.abs(before.values[gone]).mean()))
        return adjusted

    monkeypatch.setattr(FedMef, "adjust", record)
    for strength in (0.0, 2.0):
        overrides = (
            "pruning.method=fedmef",
            "training.momentum=0",
            f"pruning.extrusion={strength}",
        )
        federate(tiny_config(*SMALL, "federation.rounds=3", *overrides), tmp_path / str(strength))
    assert pruned[1] < 0.5 * pruned[0]


def test_methods_without_adjustments_declare_no_half_of_their_own() -> None:
    for method in METHODS.values():
        assert method.adjusts or method.device_type.sends is DeviceHalf.sends
        assert not (method.adjusts and method.one_shot)
        assert method.device_type.sends
