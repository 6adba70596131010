"""The observer that keeps a run's metrics.jsonl."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import override

from fedtiny.runs import metrics
from fedtiny.runs.events import Event
from strategies.observer import Observer, RunInfo


class MetricsObserver(Observer):
    """Writes every event; a resumed run first drops those that its first round brings again.

    Args:
        path: of the file; its folder exists.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: metrics.MetricsWriter | None = None

    @override
    def on_start(self, info: RunInfo) -> None:
        kept = metrics.read(self._path).events if info.resumed else ()
        self._writer = metrics.MetricsWriter(
            self._path, (event for event in kept if event.round < info.next_round)
        )

    @override
    def on_event(self, event: Event) -> None:
        assert self._writer is not None
        self._writer.write(event)

    @override
    def on_end(self) -> None:
        if self._writer is not None:
            self._writer.close()
