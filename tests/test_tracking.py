"""Trackers: one contract for all, read back from what each tool wrote; none of them ends a run."""

import json
import math
import struct
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from conftest import DEMO, TINY
from test_strategies_contract import SMALL
from typer.testing import CliRunner

from fedtiny.config import load
from fedtiny.runs.events import Event, RoundFinished
from fedtiny.runs.folder import RunFolder
from sims.backends import Backend, run_federation
from sims.launch import cli
from strategies.numbers import RoundNumbers
from strategies.observer import Observer, RunInfo
from strategies.tracking import Tool, TrackingError, check, tracker
from strategies.tracking.tracker import Tracker

Scalars = dict[int, dict[str, float]]

CONFIG = load(DEMO, [*TINY, *SMALL, "name=tracked", "federation.evaluate_every=2"])


def tensorboard_scalars(folder: Path) -> Scalars:
    """Event files are records of a length, two checksums and a protocol buffer."""
    from tensorboardX.proto.event_pb2 import Event as Record

    found: Scalars = {}
    for path in sorted((folder / "tensorboard").glob("events.*")):
        content, at = path.read_bytes(), 0
        while at < len(content):
            (size,) = struct.unpack_from("<Q", content, at)
            record = Record.FromString(content[at + 12 : at + 12 + size])
            at += 12 + size + 4
            for value in record.summary.value:
                if value.WhichOneof("value") == "simple_value":
                    found.setdefault(record.step, {})[value.tag] = value.simple_value
    return found


def mlflow_scalars(folder: Path) -> Scalars:
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{folder}/mlflow.db")
    experiment = client.get_experiment_by_name("fedtiny")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params["seed"] == str(CONFIG.seed)
    found: Scalars = {}
    for name in run.data.metrics:
        for one in client.get_metric_history(run.info.run_id, name):
            found.setdefault(one.step, {})[name] = one.value
    return found


def log_records(content: bytes) -> Iterator[bytes]:
    """LevelDB's log: blocks of 32 KiB, a record in one piece (1) or in several (2, 3, 4)."""
    block, at, parts = 32 * 1024, 7, b""  # the file's own head is as long as a record's
    while at + 7 <= len(content):
        if block - at % block < 7:
            at += block - at % block
            continue
        _, size, kind = struct.unpack_from("<IHB", content, at)
        parts += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in (1, 4):
            yield parts
            parts = b""


def wandb_scalars(folder: Path) -> Scalars:
    from wandb.proto.wandb_internal_pb2 import Record

    found: Scalars = {}
    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in log_records(path.read_bytes()):
            record = Record.FromString(data)
            if record.WhichOneof("record_type") == "history":
                items = {
                    item.key or "/".join(item.nested_key): json.loads(item.value_json)
                    for item in record.history.item
                }
                step = record.history.step.num
                found.setdefault(step, {}).update(
                    {k: v for k, v in items.items() if not k.startswith("_")}
                )
    return found


READ: Mapping[Tool, Callable[[Path], Scalars]] = {
    Tool.TENSORBOARD: tensorboard_scalars,
    Tool.MLFLOW: mlflow_scalars,
    Tool.WANDB: wandb_scalars,
}


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "WANDB_PROJECT"):
        monkeypatch.delenv(name, raising=False)


class _Recorder(Observer):
    def __init__(self) -> None:
        self.info: list[RunInfo] = []
        self.events: list[Event] = []
        self.model = b""

    def on_start(self, info: RunInfo) -> None:
        self.info.append(info)

    def on_event(self, event: Event) -> None:
        self.events.append(event)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> _Recorder:
    recorder = _Recorder()
    folder = RunFolder(tmp_path_factory.mktemp("run") / "tracked")
    run_federation(CONFIG, folder, Backend.INLINE, observers=[recorder])
    recorder.model = folder.model.read_bytes()
    return recorder


def expected(recorded: _Recorder) -> Scalars:
    numbers, found = RoundNumbers(), {}
    for event in recorded.events:
        numbers.see(event)
        if isinstance(event, RoundFinished):
            found[event.round] = numbers.scalars(event.round)
    return found


def fail(sentence: str) -> None:
    raise AssertionError(sentence)


def play(observer: Observer, recorded: _Recorder, first: int = 0, last: int = 99) -> None:
    observer.on_start(RunInfo(CONFIG, recorded.info[0].graph, max(first, 1), first > 0))
    for event in recorded.events:
        if first <= event.round <= last:
            observer.on_event(event)
    observer.on_end()


def test_numbers(recorded: _Recorder) -> None:
    by_round = expected(recorded)
    assert sorted(by_round) == [1, 2, 3, 4]
    assert {k for k in by_round[1] if "accuracy" in k} == set()
    assert 0 < by_round[2]["accuracy/same_people"] <= 1
    assert by_round[4]["uplink_bytes"] > by_round[1]["uplink_bytes"] > 0
    assert all(math.isfinite(v) for one in by_round.values() for v in one.values())


slow = pytest.mark.deploy  # MLflow and W&B take seconds to import and to make their databases
TOOLS = [Tool.TENSORBOARD, *(pytest.param(t, marks=slow) for t in (Tool.MLFLOW, Tool.WANDB))]


def test_every_tool_is_tried() -> None:
    assert len(TOOLS) == len(Tool) == len(READ)


@pytest.mark.filterwarnings("ignore:.*noload.*")  # what MLflow does with SQLAlchemy
@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_gets_every_number_also_of_a_resumed_run(
    tool: Tool, recorded: _Recorder, tmp_path: Path
) -> None:
    folder = RunFolder(tmp_path / "tracked")
    folder.path.mkdir()
    play(tracker(tool, folder, fail), recorded, last=2)
    time.sleep(1)  # W&B names a folder by the second in which it is begun
    play(tracker(tool, folder, fail), recorded, first=3)
    wanted, deadline = expected(recorded), time.monotonic() + 20
    while (found := READ[tool](folder.path / "tracking")).keys() != wanted.keys():
        assert time.monotonic() < deadline, sorted(found)  # W&B's service writes in its own time
        time.sleep(0.1)
    assert sorted(found) == [1, 2, 3, 4]
    for round in (1, 2):
        assert found[round] == pytest.approx(wanted[round])
    for name in ("loss", "density", "accuracy/same_people"):  # bytes are counted since the resume
        assert found[4][name] == pytest.approx(wanted[4][name])


class _Broken(Tracker):
    def begin(self, info: RunInfo) -> None:
        pass

    def log(self, round: int, scalars: Mapping[str, float]) -> None:
        raise ConnectionError("the server is down")

    def finish(self) -> None:
        raise AssertionError("asked again")


def test_a_tool_that_fails_does_not_end_the_run(recorded: _Recorder, tmp_path: Path) -> None:
    said: list[str] = []
    play(_Broken(RunFolder(tmp_path), said.append), recorded)
    assert len(said) == 1
    assert "the server is down" in said[0]
    assert "the run goes on" in said[0]


def test_a_run_is_the_same_with_or_without(recorded: _Recorder, tmp_path: Path) -> None:
    tracked = RunFolder(tmp_path / "tracked")
    watch = tracker(Tool.TENSORBOARD, tracked, fail)
    run_federation(CONFIG, tracked, Backend.INLINE, observers=[watch])
    assert tracked.model.read_bytes() == recorded.model
    assert sorted(tensorboard_scalars(tracked.path / "tracking")) == [1, 2, 3, 4]


def test_a_library_that_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(TrackingError, match=r"mlflow needs mlflow.*pip install 'fedtiny\[track\]'"):
        check(Tool.MLFLOW)


def test_refused_before_any_work(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    command = ["--config", str(DEMO), "--out", str(tmp_path), "--track", "tensorboard"]
    done = CliRunner().invoke(cli, [*command, "--backend", "flower"])
    assert done.exit_code == 2
    assert "tells nobody" in done.stderr
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 2
    assert "pip install 'fedtiny[track]'" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("tool", list(Tool))
def test_a_tool_is_a_short_file(tool: Tool) -> None:
    text = Path(sys.modules["strategies.tracking"].__file__ or "").with_name(f"{tool}.py")
    assert len(text.read_text(encoding="utf-8").splitlines()) <= 60
