"""metrics.jsonl: every event of a run, one JSON object a line, on disk as soon as it happens."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from fedtiny.errors import FedTinyError
from fedtiny.runs.event_json import EventError, UnknownKindError, from_json, to_json
from fedtiny.runs.events import Event

E = TypeVar("E", bound=Event)


class MetricsError(FedTinyError):
    """metrics.jsonl is damaged; the message names the line."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What was read.

    Attributes:
        events: in the order in which they happened.
        notes: what was left out because this version does not know it, in words.
    """

    events: tuple[Event, ...]
    notes: tuple[str, ...] = ()

    def of(self, kind: type[E]) -> list[E]:
        """Those of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


class MetricsWriter:
    """Appends events to a file, which it starts anew.

    Args:
        path: of the file; its folder exists.
        kept: events the file begins with.
    """

    def __init__(self, path: Path, kept: Iterable[Event] = ()) -> None:
        # A crash while the file is rewritten must not cost the events that a resumed run keeps.
        partial = path.with_name(path.name + ".partial")
        partial.write_text("".join(map(_line, kept)), encoding="utf-8")
        partial.replace(path)
        self._file = path.open("a", encoding="utf-8")

    def write(self, event: Event) -> None:
        """Add one; it is on disk when this returns."""
        self._file.write(_line(event))
        self._file.flush()

    def close(self) -> None:
        """Nothing can be written any more."""
        self._file.close()


def read(path: Path) -> Recording:
    """Every event of a file that exists.

    A last line without its end was cut off by a crash and is ignored. Kinds and fields of another
    version are left out and noted.

    Raises:
        MetricsError: a line is no event.
    """
    events: list[Event] = []
    left_out: Counter[str] = Counter()
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            event, unknown = from_json(line)
        except UnknownKindError as kind:
            left_out[f"events of kind {str(kind)!r}"] += 1
            continue
        except EventError as error:
            raise MetricsError(
                f"{path}, line {number}: {error}. Delete the line if you can do without it, or "
                "run again"
            ) from error
        events.append(event)
        left_out.update(f"field {name!r}" for name in unknown)
    return Recording(
        tuple(events),
        tuple(f"{what} ({count}×): unknown to this version" for what, count in left_out.items()),
    )


def _line(event: Event) -> str:
    return json.dumps(to_json(event)) + "\n"
