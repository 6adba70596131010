"""Numbers on command lines: an option says its range and refuses what lies outside, NaN too."""

from __future__ import annotations

from enum import StrEnum
from typing import Any, NamedTuple

import click
from typing_extensions import override

MOST_CLASSES = MOST_SIDE = 65_535
"""What fits the 16 bits that exported C has for classes and for a side of an image."""

MOST_PROCESSES = 1024
"""Threads and worker processes."""

MOST_SECONDS = 1e9
"""As of ``clock.deadline_s``: 30 years."""


class WeightBits(StrEnum):
    """Of a stored weight."""

    FOUR = "4"
    EIGHT = "8"


class FractionType(click.ParamType):  # type: ignore[type-arg]  # generic in new Clicks only
    """A share, in (0, 1].

    >>> FractionType().convert("0.05", None, None)
    0.05
    """

    name = "fraction"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; fails on anything else, infinities and NaN included."""
        try:
            number = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number; write one in (0, 1], e.g. 0.05", param, ctx)
        if not 0 < number <= 1:
            self.fail(f"{value} is not in the range (0, 1], e.g. 0.05", param, ctx)
        return number


class SampleShape(NamedTuple):
    """Of one sample."""

    channels: int
    height: int
    width: int

    @override
    def __str__(self) -> str:
        return "x".join(map(str, self))


class SecondsType(click.ParamType):  # type: ignore[type-arg]  # generic in new Clicks only
    """A time, from 0 to :data:`MOST_SECONDS`.

    >>> SecondsType().convert("0.5", None, None)
    0.5
    """

    name = "seconds"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number; fails on anything else, infinities and NaN included."""
        try:
            seconds = float(value)
        except ValueError:
            self.fail(f"{value!r} is not a number of seconds, e.g. 0.5", param, ctx)
        if not 0 <= seconds <= MOST_SECONDS:
            self.fail(f"{value} is not in the range 0 to {MOST_SECONDS:g}", param, ctx)
        return seconds


class ShapeType(click.ParamType):  # type: ignore[type-arg]  # generic in new Clicks only
    """Channels, height and width of a sample.

    >>> str(ShapeType().convert("6x1x128", None, None))
    '6x1x128'
    """

    name = "CxHxW"

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> SampleShape:
        """The three numbers, each in 1 … :data:`MOST_SIDE`."""
        if isinstance(value, SampleShape):
            return value
        try:
            channels, height, width = (int(part) for part in value.split("x"))
        except ValueError:
            self.fail(f"{value!r}: write CxHxW, each in the range 1..{MOST_SIDE}", param, ctx)
        if not all(1 <= side <= MOST_SIDE for side in (channels, height, width)):
            self.fail(f"{value!r}: each number is in the range 1..{MOST_SIDE}", param, ctx)
        return SampleShape(channels, height, width)
