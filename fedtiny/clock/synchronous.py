"""A round that waits: for all, for enough of them, or until its deadline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import inf

from fedtiny.clock.course import Course
from fedtiny.clock.heap import Due, EventHeap
from fedtiny.runs.outcome import Outcome


@dataclass(frozen=True, slots=True)
class Settled:
    """What a round came to on the clock.

    Attributes:
        courses: by partition, ascending; those that would count but came too late are late.
        ended_s: when the round was over.
    """

    courses: tuple[Course, ...]
    ended_s: float

    @property
    def counted(self) -> list[int]:
        """Partitions whose replies count, ascending."""
        return [one.partition for one in self.courses if one.outcome is Outcome.COUNTED]


def settle(
    courses: Iterable[Course], started_s: float, deadline_s: float, enough: int | None
) -> Settled:
    """Who counts: the first ``enough`` that end by the deadline, at one time the lower partition.

    The round is over when enough have answered, or all who were there have, else at its deadline:
    a server does not know that a device it waits for is lost.

    Args:
        courses: of all that were asked.
        started_s: when.
        deadline_s: seconds that the round may take; 0: as long as it takes, and then nobody may be
            lost.
        enough: replies that end the round; None: all are waited for.

    >>> asked = [Course(k, 1, 1, 0.0, compute_s=s) for k, s in enumerate((3.0, 1.0, 2.0))]
    >>> settled = settle(asked, 0.0, 0.0, enough=2)
    >>> settled.counted, settled.ended_s
    ([1, 2], 2.0)
    """
    limit = started_s + deadline_s if deadline_s else inf
    arrivals: EventHeap[Course] = EventHeap()
    ended: dict[int, Course] = {}
    for course in courses:
        if course.outcome is Outcome.COUNTED:
            arrivals.put(Due(course.ended_s, course.partition, course.number, course))
        else:
            ended[course.partition] = course
    waited_for = [one for one in ended.values() if one.outcome in _UNKNOWN]
    over, counted = started_s, 0
    while len(arrivals):
        due = arrivals.take()
        if due.second <= limit and counted != enough:
            over, counted = due.second, counted + 1
            ended[due.partition] = due.what
        else:
            ended[due.partition] = replace(due.what, outcome=Outcome.LATE)
    if counted != enough and (not counted or waited_for or _late(ended)):
        over = limit
    if over == inf:
        raise ValueError("a device is lost, and the round has no deadline")
    return Settled(tuple(ended[k] for k in sorted(ended)), over)


_UNKNOWN = (Outcome.DROPPED, Outcome.BROKE, Outcome.LEFT)
"""Ends of which the server is not told."""


def _late(ended: dict[int, Course]) -> bool:
    return any(one.outcome is Outcome.LATE for one in ended.values())
