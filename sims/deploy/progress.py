"""What a person sees while a job runs elsewhere: read from the metrics file as it grows."""

from __future__ import annotations

from collections.abc import Callable

from fedtiny.runs.event_json import EventError, from_json
from fedtiny.runs.events import Event, Exchanged, RoundFinished
from fedtiny.runs.folder import RunFolder


class Follower:
    """Tells of every event that a run's metrics file gets after it was made.

    Args:
        folder: of the run.
        say: gets a line for each.
        note: gets the event itself.
    """

    def __init__(
        self, folder: RunFolder, say: Callable[[str], None], note: Callable[[Event], None]
    ) -> None:
        self._path = folder.metrics
        self._say = say
        self._note = note
        self._position = self._path.stat().st_size if self._path.exists() else 0

    def look(self) -> None:
        """Tell of what is new."""
        if not self._path.exists():
            return
        if self._path.stat().st_size < self._position:  # a resumed run drops what it repeats
            self._position = self._path.stat().st_size
        with self._path.open("rb") as file:
            file.seek(self._position)
            for line in file:
                if not line.endswith(b"\n"):
                    return  # half written: read again next time
                self._position += len(line)
                try:
                    event = from_json(line)[0]
                except EventError:
                    continue  # the report will say so
                self._note(event)
                self._tell(event)

    def _tell(self, event: Event) -> None:
        if isinstance(event, Exchanged):
            self._say(
                f"round {event.round}: {event.phase} answered by {event.answered} of "
                f"{event.asked} nodes in {event.seconds:.0f} s"
            )
            for failure in event.failures:
                self._say(f"  {failure}")
        elif isinstance(event, RoundFinished):
            self._say(f"round {event.round} finished, loss {event.loss:.3f}")
