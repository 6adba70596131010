"""A run's numbers round by round, gathered from its events."""

from __future__ import annotations

from fedtiny.runs.event_parts import Group
from fedtiny.runs.events import Evaluated, Event, Exchanged, ModelState, RoundFinished


class RoundNumbers:
    """What people watch: fills up while events go by.

    Attributes:
        density: share of the prunable weights that is left.
        loss: mean training loss of the last finished round, nats; None before it.
        uplink_bytes, downlink_bytes: on the wire, since the run began or was resumed.
    """

    def __init__(self) -> None:
        self.density = 1.0
        self.loss: float | None = None
        self.uplink_bytes = 0
        self.downlink_bytes = 0
        self._evaluated = 0
        self._correct: dict[Group, int] = {}
        self._count: dict[Group, int] = {}

    def see(self, event: Event) -> None:
        """Take in one event."""
        match event:
            case Exchanged():
                self.uplink_bytes += event.up.wire
                self.downlink_bytes += event.down.wire
            case Evaluated():
                self._add(event)
            case ModelState():
                self.density = event.density
                if isinstance(event, RoundFinished):
                    self.loss = event.loss

    def _add(self, event: Evaluated) -> None:
        if event.round != self._evaluated:
            self._evaluated, self._correct, self._count = event.round, {}, {}
        group = event.group
        self._correct[group] = self._correct.get(group, 0) + event.correct
        self._count[group] = self._count.get(group, 0) + event.count

    @property
    def accuracy(self) -> dict[Group, float]:
        """Samples right / samples of the last evaluated round, of groups that had samples."""
        return {group: self._correct[group] / n for group, n in self._count.items() if n}

    def scalars(self, round: int) -> dict[str, float]:
        """By name, after ``round``; accuracies only if it was evaluated."""
        found = {
            "density": self.density,
            "uplink_bytes": float(self.uplink_bytes),
            "downlink_bytes": float(self.downlink_bytes),
        }
        if self.loss is not None:
            found["loss"] = self.loss
        if self._evaluated == round:
            found |= {f"accuracy/{group}": share for group, share in self.accuracy.items()}
        return found
