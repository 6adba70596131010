"""What a person sees while a run goes on: phase, round, accuracy, density, bytes, time left."""

from __future__ import annotations

import time

from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn
from rich.text import Text
from typing_extensions import override

from fedtiny.escaping.terminal import Screen, visible
from fedtiny.runs.events import Evaluated, Event, Exchanged, ModelState, RoundFinished, Stopped
from fedtiny.wire.phase import Phase
from strategies.observer import Observer, RunInfo


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
        self._status = _Status()
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
        self._status.see(event)
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
            self._task, completed=done, status=str(self._status), seconds_left=left
        )
        if not self._console.is_terminal and (done % 5 == 0 or done == self._rounds):
            self._console.say(
                f"{self._title}: round {done}/{self._rounds}, {self._status}, {left:.0f} s left"
            )

    @override
    def on_end(self) -> None:
        self._progress.stop()

    def _seconds_left(self, done: int) -> float:
        per_round = (time.monotonic() - self._started) / (done - self._first_round + 1)
        return per_round * (self._rounds - done)


class _Status:
    """The numbers of the line, gathered from events."""

    def __init__(self) -> None:
        self._round = 0
        self._correct: dict[str, int] = {}
        self._count: dict[str, int] = {}
        self._density = 1.0
        self._bytes = 0

    def see(self, event: Event) -> None:
        match event:
            case Exchanged():
                self._bytes += event.up.wire + event.down.wire
            case ModelState():
                self._density = event.density
            case Evaluated():
                if event.round != self._round:
                    self._round, self._correct, self._count = event.round, {}, {}
                group = event.group
                self._correct[group] = self._correct.get(group, 0) + event.correct
                self._count[group] = self._count.get(group, 0) + event.count

    def __str__(self) -> str:
        parts = [
            f"{name} {100 * self._correct[group] / self._count[group]:.1f} %"
            for group, name in (("same_people", "accuracy"), ("unseen_people", "unseen"))
            if self._count.get(group)
        ]
        parts += [f"density {100 * self._density:.1f} %", f"{self._bytes / 1e6:.1f} MB"]
        return " · ".join(parts)


class _SecondsLeft(ProgressColumn):
    """Time left, once a round has been timed."""

    def render(self, task: Task) -> Text:
        left = task.fields.get("seconds_left")
        return Text("" if left is None else f"{left:.0f} s left", style="cyan")
