"""A run that ends early: at the same round and with the same bytes, however often it is resumed."""

from pathlib import Path

import pytest
from conftest import DEMO, TINY
from test_strategies_contract import SMALL

from fedtiny.config import RunConfig, load
from fedtiny.report import write
from fedtiny.runs.events import Evaluated, Event, Exchanged, RoundFinished, Stopped
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.wire.phase import Phase
from sims.backends import Backend, run_federation
from strategies.flower import FedTinyStrategy, StrategyError
from strategies.observer import Observer

PATIENT = ("stopping.patience=2", "stopping.min_delta=1.0", "federation.rounds=8")
"""Only the first loss that counts is a nat below the one before."""


def config_of(*overrides: str) -> RunConfig:
    return load(DEMO, [*TINY, *SMALL, *PATIENT, "pruning.stop=3", *overrides])


def rounds(folder: RunFolder) -> list[int]:
    return [one.round for one in folder.events(RoundFinished)]


class _StoppedError(Exception):
    pass


class _PullThePlug(Observer):
    def on_event(self, event: Event) -> None:
        if isinstance(event, RoundFinished) and event.round == 6:
            raise _StoppedError


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    folder = RunFolder(tmp_path_factory.mktemp("run") / "stopped")
    run_federation(config_of(), folder, Backend.INLINE)
    return folder


def test_it_ends_when_patience_does_after_the_last_adjustment(stopped: RunFolder) -> None:
    assert rounds(stopped) == [1, 2, 3, 4, 5, 6]  # 4 is the first that counts; 5 and 6 gain nothing
    (event,) = stopped.events(Stopped)
    assert (event.round, event.rounds_since) == (6, 2)
    assert max(one.round for one in stopped.events(Evaluated)) == 6  # evaluate_every is 4
    assert TrainedModel.load(stopped.model).ranges
    assert [one.round for one in stopped.events(Exchanged) if one.phase is Phase.CALIBRATE] == [9]


def test_the_report_says_so(stopped: RunFolder) -> None:
    report = write(stopped)
    assert (report["finished"], report["stopped_early"], report["rounds"]) == (True, True, 6)
    text = (stopped.path / "report.md").read_text(encoding="utf-8")
    assert "stopped before round 8: the training loss had not fallen for 2 rounds" in text


def test_without_patience_all_rounds_are_run(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    run_federation(config_of("stopping.patience=0", "federation.rounds=3"), folder, Backend.INLINE)
    assert rounds(folder) == [1, 2, 3]
    assert folder.events(Stopped) == []
    assert not write(folder)["stopped_early"]


def test_resumed_it_ends_at_the_same_round(stopped: RunFolder, tmp_path: Path) -> None:
    """The plug is pulled in its last round, after the decision and before the checkpoint."""
    folder = RunFolder(tmp_path / "run")
    with pytest.raises(_StoppedError):
        run_federation(config_of(), folder, Backend.INLINE, observers=[_PullThePlug()])
    run_federation(config_of(), folder, Backend.INLINE, resume=True)
    assert folder.model.read_bytes() == stopped.model.read_bytes()
    assert rounds(folder) == rounds(stopped)
    assert folder.events(Stopped) == stopped.events(Stopped)


def test_resumed_after_its_end_it_trains_no_more(stopped: RunFolder) -> None:
    before = stopped.model.read_bytes()
    run_federation(config_of(), stopped, Backend.INLINE, resume=True)
    assert rounds(stopped) == [1, 2, 3, 4, 5, 6]
    assert len(stopped.events(Stopped)) == 1
    assert stopped.model.read_bytes() == before


def test_flowers_loop_cannot(tmp_path: Path) -> None:
    with pytest.raises(StrategyError, match=r"stopping.patience: Flower's loop runs every round"):
        FedTinyStrategy(config_of(), tmp_path)
