"""Boxes of whole pixels."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from fedtiny.errors import FedTinyError


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """Pixels [x, x + width) × [y, y + height).

    Raises:
        FedTinyError: a corner left of or above the frame, or nothing inside.
    """

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.x < 0 or self.y < 0 or self.width < 1 or self.height < 1:
            raise FedTinyError(
                f"{self}: x and y are at least 0, width and height at least 1; clip it first"
            )

    @property
    def right(self) -> int:
        """The first column behind it."""
        return self.x + self.width

    @property
    def bottom(self) -> int:
        """The first row below it."""
        return self.y + self.height

    @property
    def area(self) -> int:
        """Pixels."""
        return self.width * self.height


def clipped(left: int, top: int, width: int, height: int, frame: tuple[int, int]) -> Box | None:
    """The part of a rectangle that is inside the frame; None if there is none.

    Args:
        left, top, width, height: whole pixels, of either sign.
        frame: (width, height).

    >>> clipped(-4, 230, 20, 20, (320, 240))
    Box(x=0, y=230, width=16, height=10)
    """
    x, y = max(left, 0), max(top, 0)
    right, bottom = min(left + width, frame[0]), min(top + height, frame[1])
    return Box(x, y, right - x, bottom - y) if right > x and bottom > y else None


def overlap(a: Box, b: Box) -> Fraction:
    """Intersection over union, exactly.

    >>> overlap(Box(0, 0, 2, 2), Box(1, 0, 2, 2))
    Fraction(1, 3)
    """
    wide = min(a.right, b.right) - max(a.x, b.x)
    high = min(a.bottom, b.bottom) - max(a.y, b.y)
    common = max(wide, 0) * max(high, 0)
    return Fraction(common, a.area + b.area - common)
