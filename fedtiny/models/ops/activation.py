"""What is applied to a node's sums before the next node reads them."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Reals = npt.NDArray[np.floating[Any]]


class Activation(StrEnum):
    """An element-wise function at the end of a node; the values are those of files."""

    NONE = "none"
    RELU = "relu"
    RELU6 = "relu6"
    HARD_SWISH = "hard_swish"

    @property
    def clamps(self) -> bool:
        """Whether it only limits values to an interval, so that no range before it is needed."""
        return self is not Activation.HARD_SWISH

    def __call__(self, x: Reals) -> Reals:
        """Its values at ``x``, in the precision of ``x``.

        >>> Activation.HARD_SWISH(np.array([-3.0, -1.5, 3.0])).tolist()
        [-0.0, -0.375, 3.0]
        """
        return NUMPY[self](x)


def linear_name(node: str) -> str:
    """Name of the tensor that a node's activation is applied to, where it is observed."""
    return f"{node}.linear"


def _relu(x: Reals) -> Reals:
    return np.maximum(x, 0)


def _relu6(x: Reals) -> Reals:
    return np.clip(x, 0, 6)


def _hard_swish(x: Reals) -> Reals:
    return x * np.clip(x + 3, 0, 6) / 6


NUMPY: dict[Activation, Callable[[Reals], Reals]] = {
    Activation.NONE: lambda x: x,
    Activation.RELU: _relu,
    Activation.RELU6: _relu6,
    Activation.HARD_SWISH: _hard_swish,
}
"""Every activation on arrays."""
