"""Side effects of a run: whoever wants to see it watches through a few hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fedtiny.config import RunConfig
from fedtiny.models.graph import Graph
from fedtiny.wire.phase import Phase
from strategies.exchange import ExchangeReport


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


Event = Mapping[str, Any]
"""One JSON-able thing that happened; ``event`` names its kind, ``round`` its round."""


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

    def on_start(self, info: RunInfo) -> None:
        """See :meth:`Observer.on_start`."""
        for observer in self._observers:
            observer.on_start(info)

    def on_phase(self, phase: Phase, round: int) -> None:
        """See :meth:`Observer.on_phase`."""
        for observer in self._observers:
            observer.on_phase(phase, round)

    def on_event(self, event: Event) -> None:
        """See :meth:`Observer.on_event`."""
        for observer in self._observers:
            observer.on_event(event)

    def on_end(self) -> None:
        """See :meth:`Observer.on_end`."""
        for observer in self._observers:
            observer.on_end()


def exchange_event(report: ExchangeReport) -> Event:
    """An exchange as an event."""
    directions = {
        name: {"payload": t.payload_bytes, "wire": t.wire_bytes, "kinds": dict(t.kinds)}
        for name, t in (("down", report.down), ("up", report.up))
    }
    return {
        "event": "exchange",
        "phase": report.phase.value,
        "round": report.round,
        "asked": report.asked,
        "answered": report.answered,
        **directions,
        "failures": [{"partition": f.partition, "reason": f.reason} for f in report.failures],
        "seconds": round(report.seconds, 4),
    }
