"""Side effects of a run: whoever wants to see it watches through a few hooks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from typing_extensions import override

from fedtiny.config import RunConfig
from fedtiny.models.graph import Graph
from fedtiny.runs.events import Event
from fedtiny.wire.phase import Phase


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What is known when a run starts, or starts again.

    Attributes:
        config, graph: of the run.
        next_round: 1 for a new run; a resumed one goes on here.
        resumed: events of earlier rounds are already on disk.
    """

    config: RunConfig
    graph: Graph
    next_round: int
    resumed: bool


class Observer:
    """Sees a run go by. Override what you need; an observer never changes a result."""

    def on_start(self, info: RunInfo) -> None:
        """Before anything is sent."""

    def on_phase(self, phase: Phase, round: int) -> None:
        """Something is about to happen that may take a while; not a result, not recorded."""

    def on_event(self, event: Event) -> None:
        """Something happened: an exchange, a finished round, an evaluation."""

    def on_end(self) -> None:
        """The run ended, well or badly; files are closed here."""


class Observers(Observer):
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    @override
    def on_start(self, info: RunInfo) -> None:
        for observer in self._observers:
            observer.on_start(info)

    @override
    def on_phase(self, phase: Phase, round: int) -> None:
        for observer in self._observers:
            observer.on_phase(phase, round)

    @override
    def on_event(self, event: Event) -> None:
        for observer in self._observers:
            observer.on_event(event)

    @override
    def on_end(self) -> None:
        for observer in self._observers:
            observer.on_end()
