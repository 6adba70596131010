"""Many devices, few of them asked: who is, who says what first, and that nothing else changes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from repeated_runs import federate, results

from fedtiny.config import RunConfig
from fedtiny.config.sections import FederationConfig
from fedtiny.federation.sampling import asked_in
from fedtiny.runs.events import DeviceDescribed, Evaluated, Event, Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.wire.phase import Phase
from strategies.observer import Observer

Configure = Callable[..., RunConfig]

SMALL = (
    "model.name=smartwatch_cnn@8",
    "data.limit=200",
    "devices.fleet=[]",
    "pretraining.epochs=0",
)
FEW = (
    *SMALL,
    "federation.rounds=4",
    "pruning.stop=2",
    "federation.clients_per_round=2",
    "federation.describe_clients=3",
    "federation.evaluate_clients=2",
    "federation.calibrate_clients=2",
)
BEFORE = (Phase.DESCRIBE, Phase.CANDIDATE_STATISTICS, Phase.CANDIDATE_LOSSES)


_kept: dict[str, RunFolder] = {}


@pytest.fixture
def few(tiny_config: Configure, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A run in which hardly anybody is asked; made once."""
    if "few" not in _kept:
        _kept["few"] = federate(tiny_config(*FEW), tmp_path_factory.mktemp("few") / "run")
    return _kept["few"]


def asked(folder: RunFolder, *phases: Phase) -> list[tuple[int, int]]:
    return [(e.round, e.asked) for e in folder.events(Exchanged) if e.phase in phases]


def test_no_phase_asks_more_than_the_config_says(few: RunFolder) -> None:
    assert [count for round, count in asked(few, *BEFORE) if round == 0] == [3, 3, 3]
    assert asked(few, Phase.TRAIN) == [(1, 2), (2, 2), (3, 2), (4, 2)]
    assert {count for _, count in asked(few, Phase.EVALUATE)} == {2}
    assert asked(few, Phase.CALIBRATE) == [(5, 2)]
    everybody = asked(few, Phase.JOIN)
    assert everybody[0] == (0, 3)
    assert sum(count for _, count in everybody) <= 8


def test_every_device_describes_itself_once_and_before_anything_else(few: RunFolder) -> None:
    events = few.recording().events
    described = [e.partition for e in events if isinstance(e, DeviceDescribed)]
    assert max(Counter(described).values()) == 1
    assert len(described) > 3, "some take part that were not asked before round 1"
    seen: set[int] = set()
    for event in events:
        if isinstance(event, DeviceDescribed):
            seen.add(event.partition)
        if isinstance(event, Evaluated) and event.group == "same_people":
            assert event.who in seen
    joined = sum(count for _, count in asked(few, Phase.JOIN))
    assert joined == len(described), "who joins is introduced, and nobody else joins"


class Interrupt(Observer):
    """Stops a run when a round is over."""

    def on_event(self, event: Event) -> None:
        if isinstance(event, Exchanged) and (event.round, event.phase) == (3, Phase.TRAIN):
            raise KeyboardInterrupt


def test_a_resumed_run_draws_the_same(
    few: RunFolder, tiny_config: Configure, tmp_path: Path
) -> None:
    with pytest.raises(KeyboardInterrupt):
        federate(tiny_config(*FEW), tmp_path, observers=[Interrupt()])
    folder = federate(tiny_config(*FEW), tmp_path, resume=True)
    assert folder.model.read_bytes() == few.model.read_bytes()
    assert results(folder) == results(few)


def test_a_draw_of_everybody_is_everybody(tiny_config: Configure, tmp_path: Path) -> None:
    short = (*SMALL, "federation.rounds=2", "pruning.stop=1")
    counts = [f"federation.{what}_clients=8" for what in ("describe", "evaluate", "calibrate")]
    all_asked = federate(tiny_config(*short), tmp_path / "all")
    all_drawn = federate(tiny_config(*short, *counts), tmp_path / "drawn")
    assert all_drawn.model.read_bytes() == all_asked.model.read_bytes()
    assert results(all_drawn) == results(all_asked)


def test_evaluations_ask_others_each_time_and_preparations_the_same() -> None:
    settings = FederationConfig(describe_clients=5, evaluate_clients=5, calibrate_clients=5)

    def draw(phase: Phase, round: int = 0, seed: int = 0) -> tuple[int, ...]:
        return tuple(asked_in(phase, round, range(1000), settings, seed))

    assert len({draw(phase) for phase in (*BEFORE, Phase.SALIENCY)}) == 1
    draws = {draw(Phase.EVALUATE, round) for round in range(1, 30)}
    draws |= {draw(Phase.CALIBRATE, 30), draw(Phase.DESCRIBE), draw(Phase.EVALUATE, 1, seed=1)}
    assert len(draws) == 32
    assert all(len(set(one)) == 5 and list(one) == sorted(one) for one in draws)
