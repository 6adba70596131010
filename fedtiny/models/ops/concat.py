"""Channels of several maps, one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedtiny.models.ops.activation import Activation
from fedtiny.models.ops.tensor import GraphError, Shape
from fedtiny.models.parameters import Parameter


@dataclass(frozen=True, slots=True)
class Concat:
    """The channels of all ``inputs``, in their order.

    Attributes:
        name: unique.
        inputs: names of the tensors read, two at least, of one height and width.
        channels: of all of them together.
    """

    activation: ClassVar[Activation] = Activation.NONE

    name: str
    inputs: tuple[str, ...]
    channels: int

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """None."""
        return ()

    def check(self, *inputs: Shape) -> None:
        """Raise GraphError unless the maps are of one size and their channels are so many."""
        sizes = {shape[1:] for shape in inputs}
        if len(inputs) < 2 or len(sizes) > 1:
            raise GraphError(
                f"node {self.name!r} joins channels of {len(inputs)} maps of the sizes "
                f"{', '.join(f'{h}x{w}' for h, w in sorted(sizes)) or 'none'}; it takes two or "
                "more of one size"
            )
        channels = sum(shape[0] for shape in inputs)
        if channels != self.channels:
            raise GraphError(
                f"node {self.name!r} expects {self.channels} channels, its inputs have {channels}"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the result, for a first input of ``shape``."""
        return (self.channels, *shape[1:])

    def macs(self, shape: Shape) -> int:
        """None: it multiplies nothing."""
        return 0
