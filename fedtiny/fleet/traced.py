"""What sections have in common whose values may come from a trace."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Annotated, TypeVar

from pydantic import Field

from fedtiny.fleet.traces import TraceError
from fedtiny.settings import Section

Seconds = Annotated[float, Field(ge=0, le=1e9)]

Read = TypeVar("Read")


class Traced(Section):
    """A trace, or none.

    Attributes:
        rows: the trace as CSV (:mod:`fedtiny.fleet.traces`). A fleet's file names a file: ``trace =
            "day.csv"``, relative to it. Clients of the trace are dealt to the group's devices in
            turn.
        period_s: after which the trace repeats; 0: its last row holds on.
        every_s: distance of a client's rows, so that a missing one is refused; 0: any.
    """

    rows: str = ""
    period_s: Seconds = 0.0
    every_s: Seconds = 0.0

    def check_trace(self) -> None:
        """Raise ValueError if there is no trace, but what belongs to one."""
        if not self.rows and (self.period_s or self.every_s):
            raise ValueError("period_s and every_s are of a trace; here is none")

    def read(self, reader: Callable[[str, str, float, float], Read], where: str) -> Read:
        """What ``reader`` makes of the trace.

        Args:
            reader: of :mod:`fedtiny.fleet.traces`.
            where: the trace is from, for the message.

        Raises:
            ValueError: it cannot be used.
        """
        try:
            return reader(self.rows, where, self.period_s or inf, self.every_s)
        except TraceError as error:
            raise ValueError(str(error)) from None
