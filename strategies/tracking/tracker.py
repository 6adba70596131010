"""What all trackers share: numbers by round, and that none of them can end a run."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path

from typing_extensions import override

from fedtiny.runs import atomic
from fedtiny.runs.events import Event, RoundFinished
from fedtiny.runs.folder import RunFolder
from fedtiny.text_files import read_text
from strategies.numbers import RoundNumbers
from strategies.observer import Observer, RunInfo


class Tracker(Observer):
    """Hands a run's config and its numbers to a tool, once a round.

    A resumed run goes on in the tool's own record of it. If the tool fails (a server that is down,
    a full disk), that is said once and the run goes on without it.

    Args:
        folder: of the run.
        warn: called with a sentence if the tool fails.
    """

    def __init__(self, folder: RunFolder, warn: Callable[[str], None]) -> None:
        self.folder = folder
        self._warn = warn
        self._numbers = RoundNumbers()
        self._works = True

    @abstractmethod
    def begin(self, info: RunInfo) -> None:
        """Open the record, anew or again."""

    @abstractmethod
    def log(self, round: int, scalars: Mapping[str, float]) -> None:
        """Add a round's numbers."""

    @abstractmethod
    def finish(self) -> None:
        """Close the record."""

    @property
    def place(self) -> str:
        """Folder for what the tool keeps on this machine."""
        return str(self.folder.path / "tracking")

    def recall(self) -> str | None:
        """The id under which the tool knows the run, if one was kept."""
        return read_text(self._id, "an id") if self._id.is_file() else None

    def keep(self, identity: str) -> str:
        """Keep the tool's id of the run for when it is resumed."""
        atomic.write(self._id, identity)
        return identity

    @property
    def _id(self) -> Path:
        return Path(self.place, f"{type(self).__name__}.id")

    @override
    def on_start(self, info: RunInfo) -> None:
        self._try(lambda: self._begin(info))

    @override
    def on_event(self, event: Event) -> None:
        self._numbers.see(event)
        if isinstance(event, RoundFinished):
            self._try(lambda: self.log(event.round, self._numbers.scalars(event.round)))

    @override
    def on_end(self) -> None:
        self._try(self.finish)

    def _begin(self, info: RunInfo) -> None:
        Path(self.place).mkdir(parents=True, exist_ok=True)
        self.begin(info)

    def _try(self, act: Callable[[], None]) -> None:
        if not self._works:
            return
        try:
            act()
        except Exception as error:
            self._works = False
            self._warn(
                f"{type(self).__name__} failed ({type(error).__name__}: {error}): the run goes on, "
                "its numbers are in metrics.jsonl"
            )
