"""A packet: named arrays and scalars, independent of who carries them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fedtiny.errors import FedTinyError
from fedtiny.escaping.free_text import check_free_text

Array = npt.NDArray[Any]
Scalar = int | float | str


MAX_MAGNITUDE = 1e6
"""Of any number a peer sends for a weight, a statistic, a gradient, a loss or an activation.

Training that works stays far below it; float32 sums of products of such numbers stay finite.
"""

MAX_COUNT = 2**53
"""Of things or bytes: JSON readers are exact up to here."""


class WireError(FedTinyError):
    """A packet does not hold what its kind promises: a lying or broken peer."""


@dataclass(frozen=True, slots=True, eq=False)
class Packet:
    """What one message carries.

    Attributes:
        arrays: by kind, e.g. ``values``, ``masks``, ``growth_values``.
        scalars: integers, floats and short strings by name.
    """

    arrays: Mapping[str, Array] = field(default_factory=dict)
    scalars: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def payload_bytes(self) -> int:
        """Bytes of our encodings."""
        return sum(self.kinds().values())

    def kinds(self) -> dict[str, int]:
        """Payload bytes by name: an array's contents, 8 for a number, a string as UTF-8."""
        scalars = {
            name: len(value.encode()) if isinstance(value, str) else 8
            for name, value in self.scalars.items()
        }
        return {**{name: array.nbytes for name, array in self.arrays.items()}, **scalars}

    def floats(
        self, name: str, shape: tuple[int, ...], high: float = MAX_MAGNITUDE
    ) -> npt.NDArray[np.float32]:
        """The float32 array ``name``, checked for shape, NaN, infinity and size.

        Raises:
            WireError: it is missing, of another type or shape, not finite, or a value lies beyond
                ±``high``.
        """
        array = self._array(name, np.dtype(np.float32), shape)
        check_magnitude(name, array, high)
        return array

    def numbers(
        self, name: str, shape: tuple[int, ...], high: float = MAX_MAGNITUDE
    ) -> npt.NDArray[np.float64]:
        """As :meth:`floats`, of float64."""
        array = self._array(name, np.dtype(np.float64), shape)
        check_magnitude(name, array, high)
        return array

    def integers(self, name: str, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> Array:
        """The integer array ``name`` of ``dtype`` and ``shape``; WireError if it is not that."""
        return self._array(name, np.dtype(dtype), shape)

    def blob(self, name: str) -> npt.NDArray[np.uint8]:
        """The byte array ``name``; WireError if it is missing or no bytes."""
        return self._array(name, np.dtype(np.uint8), None)

    def number(self, name: str, high: float = MAX_MAGNITUDE) -> float:
        """The number ``name`` in 0..``high``; WireError if it is missing or not one."""
        value = self.scalars.get(name)
        if not isinstance(value, int | float) or not _finite(value):
            raise WireError(f"{name}: expected a finite number, got {_short(value)}")
        if not 0 <= value <= high:
            raise WireError(f"{name}: {_short(value)} lies outside 0..{high:.6g}")
        return value

    def integer(self, name: str, high: int = MAX_COUNT) -> int:
        """The integer ``name`` in 0..``high``; WireError if it is missing or not one."""
        value = self.number(name, high)
        if value != int(value):
            raise WireError(f"{name}: expected an integer, got {_short(value)}")
        return int(value)

    def text(self, name: str) -> str:
        """The string ``name``; WireError if it is missing or not one."""
        value = self.scalars.get(name)
        if not isinstance(value, str):
            raise WireError(f"{name}: expected a string, got {_short(value)}")
        return value

    def name(self, name: str) -> str:
        """The string ``name`` that will be shown to people.

        Raises:
            WireError: it is missing or no string.
            TextError: it is too long, or has characters that cannot be shown.
        """
        return check_free_text(name, self.text(name))

    def _array(self, name: str, dtype: np.dtype[Any], shape: tuple[int, ...] | None) -> Array:
        array = self.arrays.get(name)
        if array is None:
            raise WireError(
                f"{name}: missing; the packet holds {', '.join(self.arrays) or 'nothing'}"
            )
        if array.dtype != dtype or (shape is not None and array.shape != shape):
            wanted = f"{dtype}{'' if shape is None else shape}"
            raise WireError(f"{name}: expected {wanted}, got {array.dtype}{array.shape}")
        return array


def check_magnitude(name: str, array: Array, high: float = MAX_MAGNITUDE) -> None:
    """Raises WireError if ``array`` has a value that is NaN, infinite, or beyond ±``high``."""
    if not np.isfinite(array).all():
        raise WireError(f"{name}: contains NaN or infinity")
    largest = float(np.abs(array).max(initial=0))
    if largest > high:
        raise WireError(f"{name}: a value of {largest:.3g} lies beyond ±{high:.0e}")


def _finite(value: float) -> bool:
    try:
        return isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _short(value: object) -> str:
    """Whatever it is, as a few characters: a peer may send a megabyte."""
    text = ascii(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


_SHOWN = 60


def concatenate(parts: list[Array]) -> npt.NDArray[np.float32]:
    """All parts flattened into one float32 vector."""
    if not parts:
        return np.zeros(0, np.float32)
    return np.concatenate([part.reshape(-1) for part in parts]).astype(np.float32, copy=False)


def split(vector: Array, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Array]:
    """The inverse of :func:`concatenate`: arrays of ``shapes``, in order.

    >>> parts = split(np.arange(5.0), {"a": (2,), "b": (3, 1)})
    >>> parts["b"].shape
    (3, 1)
    """
    result, start = {}, 0
    for name, shape in shapes.items():
        size = prod(shape)
        result[name] = vector[start : start + size].reshape(shape)
        start += size
    return result
