"""Nearest-neighbour upsampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedtiny.models.ops.activation import Activation
from fedtiny.models.ops.tensor import GraphError, Pair, Shape, at_least
from fedtiny.models.parameters import Parameter


def cells(size: int, positions: int) -> tuple[int, ...]:
    """The cell of an axis that each position of a longer one is read from.

    Args:
        size: of the axis that is read.
        positions: of the result.

    >>> cells(3, 7)
    (0, 0, 0, 1, 1, 2, 2)
    """
    return tuple(position * size // positions for position in range(positions))


@dataclass(frozen=True, slots=True)
class Upsample:
    """A map made larger: row y of the result is row ``y · height // new height`` of the input.

    Attributes:
        name: unique.
        input: name of the tensor that is read.
        size: (height, width) of the result, no smaller than the input's.
    """

    activation: ClassVar[Activation] = Activation.NONE

    name: str
    input: str
    size: Pair

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """None."""
        return ()

    def check(self, *inputs: Shape) -> None:
        """Raise GraphError unless the result is at least as large as the input."""
        at_least(1, self.name, size=self.size)
        if any(new < old for new, old in zip(self.size, inputs[0][1:], strict=True)):
            raise GraphError(
                f"node {self.name!r} makes a map of {inputs[0][1:]} one of {self.size}; it only "
                "makes maps larger, a Pool makes them smaller"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the result for an input of ``shape``."""
        return (shape[0], *self.size)

    def macs(self, shape: Shape) -> int:
        """None: it multiplies nothing."""
        return 0
