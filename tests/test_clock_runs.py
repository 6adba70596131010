"""Whole runs on a simulated clock: the same bytes everywhere, and no round is lost in silence."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from repeated_runs import federate, results

from clients import handlers
from clients.device import Device
from fedtiny.config import RunConfig, dump
from fedtiny.data.shares import client_file
from fedtiny.federation.state import CheckpointStore, ServerState
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.report import headline, write
from fedtiny.runs.clock_events import ClockAdvanced, GroupMissing, RoundLost, TaskTimed
from fedtiny.runs.events import (
    Evaluated,
    Exchanged,
    RoundFinished,
    TierGiven,
    TierMissing,
)
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.outcome import Outcome
from fedtiny.settings import ConfigError
from fedtiny.wire.join import JoinTask
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult, TrainTask
from sims.backends import Backend
from sims.flower_run import APP
from strategies.clock.buffered import NobodyComesError

pytestmark = pytest.mark.deploy  # minutes

Configure = Callable[..., RunConfig]

FLEET = """
[[groups]]
name = "fast"
device = "pi_5"
count = 3
link = { down_kbps = 4000, up_kbps = 1000, latency_s = 0.05, jitter = 0.2, spread = 0.3 }
availability = { dropout = 0.2, breakdown = 0.2 }
[[groups]]
name = "slow"
device = "esp32_s3"
count = 5
link = { down_kbps = 300, up_kbps = 100, jitter = 0.3 }
availability = { on_s = 60, off_s = 10 }
"""
SMALL = ("model.name=smartwatch_cnn@8", "data.limit=200", "pretraining.epochs=0")
SMALL = (*SMALL, "federation.rounds=5", "pruning.method=magnitude", "clock.deadline_s=30")
WAITS = ("clock.mode=synchronous", "federation.clients_per_round=3", "federation.over_selection=1")
PARTS = ("tiers.policy=nested", "devices.budget_bytes={3 = 190000, 4 = 170000, 7 = 190000}")
SHARED = ("tiers.smaller_parts=true", "tiers.global_part=chosen")
BUFFERED = ("clock.mode=buffered", "clock.buffer=3", "clock.concurrency=5")
IMPATIENT = (*BUFFERED, "clock.deadline_s=2.5")


@pytest.fixture
def timed(tiny_config: Configure, tmp_path: Path) -> Configure:
    """A factory of runs with a fleet."""

    def make(*overrides: str, fleet: str = FLEET) -> RunConfig:
        path = tmp_path / "fleet.toml"
        path.write_text(fleet, encoding="utf-8")
        return tiny_config(*SMALL, f"devices.fleet={path}", *overrides)

    return make


KILLED = """
import os, signal, sys
from pathlib import Path
from fedtiny.config import load
from fedtiny.runs.clock_events import ClockAdvanced
from fedtiny.runs.folder import RunFolder
from sims.backends import Backend, run_federation
from strategies.observer import Observer

class Kill(Observer):
    def on_event(self, event):
        if isinstance(event, ClockAdvanced) and event.round == 4:
            os.kill(os.getpid(), signal.SIGKILL)

config, folder = map(Path, sys.argv[1:])
run_federation(load(config), RunFolder(folder), Backend.INLINE, observers=[Kill()])
"""
"""Kills its process in the fourth round, when everybody has answered."""


@pytest.mark.parametrize(
    ("mode", "backend", "kinds"),
    [
        ((*WAITS, *PARTS, *SHARED), Backend.RAY, 4),
        (IMPATIENT, Backend.RAY, 2),
        ((*IMPATIENT, *PARTS, SHARED[1], "clock.deadline_s=1.5"), Backend.INLINE, 2),
    ],
    ids=["synchronous with parts", "buffered", "buffered with parts"],
)
def test_the_same_bytes_on_every_backend_and_after_kill_9(
    timed: Configure, tmp_path: Path, mode: tuple[str, ...], backend: Backend, kinds: int
) -> None:
    config = timed(*mode)
    first = federate(config, tmp_path / "first")
    saved = tmp_path / "saved.toml"
    saved.write_text(dump(config), encoding="utf-8")
    killed = [sys.executable, "-c", KILLED, str(saved), str(tmp_path / "second")]
    assert subprocess.run(killed, cwd=APP).returncode == -signal.SIGKILL
    second = federate(config, tmp_path / "second", backend, resume=True)
    assert second.model.read_bytes() == first.model.read_bytes()
    assert results(second) == results(first)
    tasks = first.events(TaskTimed)
    assert len({one.outcome for one in tasks}) >= kinds, "else little was tried"
    parts = [path.relative_to(first.path) for path in first.tiers.glob("*/model.safetensors")]
    assert len(parts) == (3 if "tiers.policy=nested" in mode else 0)
    for part in parts:
        assert (second.path / part).read_bytes() == (first.path / part).read_bytes()
    on_their_way = [one for one in tasks if one.version < 4 <= one.round]
    assert bool(on_their_way) == (IMPATIENT[0] in mode), "when the run was interrupted"


@pytest.mark.parametrize("policy", ["fedrolex", "fiarse"])
def test_steps_into_parts_that_move_are_refused(timed: Configure, policy: str) -> None:
    with pytest.raises(ConfigError, match="parts change from round to round"):
        timed(*BUFFERED, f"tiers.policy={policy}")
    with pytest.raises(ConfigError, match=r"tiers\.restore"):
        timed(*BUFFERED, "tiers.policy=nested", "tiers.restore={1 = 0.5, 3 = 1.0}")
    with pytest.raises(ConfigError, match=r"tiers\.smaller_parts"):
        timed(*BUFFERED, "tiers.policy=nested", "tiers.smaller_parts=true")


def test_a_round_waits_for_its_fastest_and_no_longer(timed: Configure, tmp_path: Path) -> None:
    folder = federate(timed(*WAITS), tmp_path / "run")
    tasks, ends = folder.events(TaskTimed), folder.events(ClockAdvanced)
    assert [one.round for one in ends] == [1, 2, 3, 4, 5]
    before = 0.0
    for one in ends:
        assert one.started_s == before
        own = [task for task in tasks if task.round == one.round]
        assert len(own) == 6 == sum(one.outcomes.values())
        assert {task.started_s for task in own} == {one.started_s}
        took = {
            task.outcome: task.started_s + task.down_s + task.compute_s + task.up_s for task in own
        }
        assert all(one.outcomes.get(outcome, 0) for outcome in took)
        assert one.outcomes[Outcome.COUNTED] <= 3
        before = one.ended_s
    (asked,) = [e for e in folder.events(Exchanged) if (e.phase, e.round) == (Phase.TRAIN, 1)]
    first = [t for t in tasks if t.round == 1 and t.outcome in (Outcome.COUNTED, Outcome.LATE)]
    assert asked.asked == asked.answered == len(first)
    assert asked.up.wire == sum(task.up_bytes for task in first)
    assert asked.down.wire == sum(task.down_bytes for task in first)


AWAY = """
[[groups]]
name = "here"
device = "pi_5"
count = 7
link = { down_kbps = 4000, up_kbps = 1000 }
availability = { dropout = %s }
[[groups]]
name = "gone"
device = "pi_4"
count = 1
link = { down_kbps = 4000, up_kbps = 1000 }
availability = { dropout = 1.0 }
"""


def test_groups_and_rounds_that_are_lost_are_named_and_counted(
    timed: Configure, tmp_path: Path
) -> None:
    mode = ("clock.mode=synchronous",)
    parts = "devices.budget_bytes={7 = 190000}", "tiers.policy=nested"
    some = federate(timed(*mode, *parts, fleet=AWAY % "0.0"), tmp_path / "some")
    assert [(e.round, e.group, e.asked) for e in some.events(GroupMissing)] == [
        (round, "gone", 1) for round in range(1, 6)
    ]
    assert not some.events(RoundLost)
    small = {one.partition: one.tier for one in some.events(TierGiven)}[7]
    missing = [(e.round, e.tier, e.asked) for e in some.events(TierMissing)]
    assert missing == [(round, small, 1) for round in range(1, 6)]
    nobody = federate(timed(*mode, fleet=AWAY % "1.0"), tmp_path / "nobody")
    assert [(e.round, e.asked) for e in nobody.events(RoundLost)] == [(r, 8) for r in range(1, 6)]
    assert [e.ended_s for e in nobody.events(ClockAdvanced)] == [30.0, 60.0, 90.0, 120.0, 150.0]
    assert not nobody.events(RoundFinished)
    assert {e.round for e in nobody.events(Evaluated)} >= {5}, "the report needs the last round"
    assert {e.phase for e in nobody.events(Exchanged) if e.round in range(1, 6)} == {Phase.EVALUATE}
    shown = [one for one in write(some)["tiers"]["parts"] if one["missing_rounds"]]
    assert [(one["width"], one["missing_rounds"]) for one in shown] == [
        (small.width, [1, 2, 3, 4, 5])
    ]
    (gone,) = [one for one in report_of(some)["groups"] if one["group"] == "gone"]
    assert gone["missing_rounds"] == [1, 2, 3, 4, 5]
    assert (gone["outcomes"], gone["mean_up_s"]) == ({"dropped": 5}, None)
    clock = report_of(nobody)
    assert (clock["lost_rounds"], clock["simulated_seconds"]) == ([1, 2, 3, 4, 5], 150.0)
    text = (nobody.path / "report.md").read_text(encoding="utf-8")
    assert "150 s of *simulated* time (synchronous)" in text
    assert "**Nobody counted in rounds 1, 2, 3, 4, 5**" in text
    assert "1500 MFLOP/s: assumed: 1 FLOP a cycle" in text
    assert {path.stem for path in nobody.plots.glob("*.png")} >= {"round_gantt", "accuracy_time"}


def report_of(folder: RunFolder) -> dict[str, Any]:
    report = write(folder)
    assert any(line.startswith("simulated time: ") for line in headline(report))
    found: dict[str, Any] = report["clock"]
    assert found["simulated"] is True
    return found


def test_a_version_nobody_made_is_lost_too(timed: Configure, tmp_path: Path) -> None:
    folder = federate(timed(*BUFFERED, fleet=AWAY % "1.0"), tmp_path / "run")
    assert len(folder.events(RoundLost)) == 5
    assert folder.events(ClockAdvanced)[-1].ended_s > 0


def test_a_fleet_that_is_away_for_good_ends_the_run_with_the_reason(
    timed: Configure, tmp_path: Path
) -> None:
    rows = "rows = 'client,second,state\\n0,0,on\\n0,0.05,off'".replace("'", '"')
    gone = AWAY.replace("dropout = %s", rows).replace("dropout = 1.0", rows)
    with pytest.raises(NobodyComesError, match="nobody who is away comes back; lengthen"):
        federate(timed(*BUFFERED, "clock.deadline_s=5", fleet=gone), tmp_path / "run")


class Keeping:
    """Every version that a run saves."""

    def __init__(self) -> None:
        self.states: dict[int, ServerState] = {}

    @contextmanager
    def watching(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        save = CheckpointStore.save

        def kept(store: CheckpointStore, state: ServerState) -> None:
            self.states[state.round] = state
            save(store, state)

        with monkeypatch.context() as patch:
            patch.setattr(CheckpointStore, "save", kept)
            yield


def trained(
    config: RunConfig, graph: Graph, folder: RunFolder, state: ServerState, partition: int
) -> TrainResult:
    """What a device makes of a version, asked once more by other means than messages."""
    task = TrainTask(state.round + 1, state.model, state.normalization, {}, meter=False)
    device = Device(
        config,
        partition,
        client_file(folder.data, partition),
        config.devices.board(partition),
        str(JoinTask(graph).packet().scalars["graph"]),
    )
    packet = handlers.train(device, task.packet(graph))
    return TrainResult.read(graph, partition, state.model.masks, packet)


def test_every_version_is_the_one_before_plus_the_weighted_stale_steps(
    timed: Configure, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """θ ← θ + η Σ (n_k / Σ n) Δ_k / √(1 + τ_k), Δ_k from the version a device was given."""
    more = "clock.buffer=2", "clock.concurrency=6", "clock.server_rate=0.5", "trust.update_factor=0"
    config, keeping = timed(*BUFFERED, *more), Keeping()
    with keeping.watching(monkeypatch):
        folder = federate(config, tmp_path / "run")
    graph = config.graph((6, 1, 128), 7)
    arrived = [one for one in folder.events(TaskTimed) if one.outcome is Outcome.COUNTED]
    assert max(one.round - one.version for one in arrived) >= 2, "else staleness was not tried"
    for round in range(1, 6):
        own = [one for one in arrived if one.round == round]
        assert len({one.partition for one in own}) == len(own) == 2
        before, after = keeping.states[round - 1].model, keeping.states[round].model
        steps = []
        for one in own:
            given = keeping.states[one.version - 1]
            result = trained(config, graph, folder, given, one.partition)
            weight = result.count / np.sqrt(1 + one.round - one.version)
            steps.append((weight, result.count, given.model, result.model))
        total = sum(count for _, count, _, _ in steps)
        check(before, after, [(0.5 * w / total, given, got) for w, _, given, got in steps])


def check(
    before: SparseModel,
    after: SparseModel,
    steps: list[tuple[float, SparseModel, SparseModel]],
) -> None:
    for name, weight in after.weights.items():
        wanted = before.weights[name].values.astype(np.float64)
        for scale, given, got in steps:
            wanted = wanted + scale * (got.weights[name].values - given.weights[name].values)
        np.testing.assert_allclose(weight.values, wanted, atol=2e-6)
