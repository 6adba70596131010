"""What a person sees while a run goes on: phase, round, accuracy, density, bytes, time left."""

from __future__ import annotations

import time

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text
from typing_extensions import override

from fedtiny.escaping.terminal import Screen, visible
from fedtiny.runs.event_parts import Group
from fedtiny.runs.events import Event, RoundFinished, Stopped
from fedtiny.wire.phase import Phase
from strategies.numbers import RoundNumbers
from strategies.observer import Observer, RunInfo

_SHOWN: tuple[tuple[Group, str], ...] = (("same_people", "accuracy"), ("unseen_people", "unseen"))


class ProgressObserver(Observer):
    """A live line on a terminal; on anything else, one plain line every few rounds.

    Args:
        console: where to draw.
        title: of the run.
    """

    def __init__(self, console: Screen, title: str) -> None:
        self._console = console
        self._title = visible(title)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.fields[title]}", style="bold", markup=False),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("round {task.completed:.0f}/{task.total:.0f}", markup=False),
            TextColumn("{task.fields[status]}", markup=False),
            _SecondsLeft(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", title=self._title, status="", start=False)
        self._numbers = RoundNumbers()
        self._rounds = 0
        self._first_round = 1
        self._started = 0.0

    @override
    def on_start(self, info: RunInfo) -> None:
        self._rounds = info.config.federation.rounds
        self._first_round = info.next_round
        self._progress.start()
        self._progress.update(self._task, total=self._rounds, completed=info.next_round - 1)

    @override
    def on_phase(self, phase: Phase, round: int) -> None:
        if phase is Phase.TRAIN and not self._started:
            self._started = time.monotonic()
        self._progress.update(self._task, description=phase.doing)

    @override
    def on_event(self, event: Event) -> None:
        self._numbers.see(event)
        if isinstance(event, Stopped):
            self._console.say(
                f"{self._title}: stopped after round {event.round}: the training loss has not "
                f"fallen for {event.rounds_since} rounds"
            )
        if not isinstance(event, RoundFinished):
            return
        done = event.round
        left = self._seconds_left(done)
        self._progress.update(
            self._task, completed=done, status=_status(self._numbers), seconds_left=left
        )
        if not self._console.is_terminal and (done % 5 == 0 or done == self._rounds):
            status = _status(self._numbers)
            self._console.say(
                f"{self._title}: round {done}/{self._rounds}, {status}, {left:.0f} s left"
            )

    @override
    def on_end(self) -> None:
        self._progress.stop()

    def _seconds_left(self, done: int) -> float:
        per_round = (time.monotonic() - self._started) / (done - self._first_round + 1)
        return per_round * (self._rounds - done)


def _status(numbers: RoundNumbers) -> str:
    accuracy = numbers.accuracy
    parts = [f"{name} {100 * accuracy[group]:.1f} %" for group, name in _SHOWN if group in accuracy]
    moved = numbers.uplink_bytes + numbers.downlink_bytes
    parts += [f"density {100 * numbers.density:.1f} %", f"{moved / 1e6:.1f} MB"]
    return " · ".join(parts)


class _SecondsLeft(ProgressColumn):
    """Time left, once a round has been timed."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("seconds_left")
        return Text("" if left is None else f"{left:.0f} s left", style="cyan")
