"""How a task ends on the simulated clock."""

from __future__ import annotations

from enum import StrEnum


class Outcome(StrEnum):
    """What became of a task."""

    COUNTED = "counted"
    """Its reply is part of the next model."""
    LATE = "late"
    """Its reply came after the deadline, or after enough others; it was dropped."""
    AWAY = "away"
    """The device was not there when it would have been asked."""
    DROPPED = "dropped"
    """The device never began."""
    BROKE = "broke"
    """The device was lost in the middle of training."""
    LEFT = "left"
    """The device went away before it had answered."""
    FAILED = "failed"
    """The device answered with an error, or nonsense: no matter of the clock."""
