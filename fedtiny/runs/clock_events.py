"""What happens on a run's simulated clock; all times here are simulated, none was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from fedtiny.runs.events import Event
from fedtiny.runs.fields import Count, Seconds
from fedtiny.runs.outcome import Outcome


@dataclass(frozen=True, slots=True)
class TaskTimed(Event):
    """A task of one device ended on the simulated clock; all times are simulated.

    Attributes:
        partition: of the device.
        group: of the fleet that it belongs to.
        outcome: what became of the task.
        version: round whose model it trained.
        started_s: when it was given out.
        down_s, compute_s, up_s: what was done of receiving, training, sending.
        down_bytes, up_bytes: on the wire.
    """

    partition: Count
    group: str
    outcome: Outcome
    version: Count
    started_s: Seconds
    down_s: Seconds
    compute_s: Seconds
    up_s: Seconds
    down_bytes: Count
    up_bytes: Count
    event: Literal["task"] = "task"


@dataclass(frozen=True, slots=True)
class ClockAdvanced(Event):
    """The simulated clock after a round; before it, what was asked.

    Attributes:
        started_s, ended_s: of the round.
        outcomes: tasks that ended in it, by outcome.
    """

    started_s: Seconds
    ended_s: Seconds
    outcomes: Mapping[Outcome, Count]
    event: Literal["clock"] = "clock"


@dataclass(frozen=True, slots=True)
class GroupMissing(Event):
    """Nobody of a group that was asked counted in this round.

    Attributes:
        group: of the fleet.
        asked: its devices.
    """

    group: str
    asked: Count
    event: Literal["group_missing"] = "group_missing"


@dataclass(frozen=True, slots=True)
class RoundLost(Event):
    """Nobody at all counted in this round: the model stays as it was.

    Attributes:
        asked: devices.
    """

    asked: Count
    event: Literal["round_lost"] = "round_lost"
