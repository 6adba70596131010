"""Average and maximum pooling."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from fedtiny.models.ops.activation import Activation
from fedtiny.models.ops.tensor import (
    GraphError,
    Padding,
    Pair,
    Shape,
    at_least,
    even,
    sides,
    slid,
)
from fedtiny.models.parameters import Parameter

KINDS = ("avg", "max")


@dataclass(frozen=True, slots=True)
class Pool:
    """Average or maximum over windows; ``kernel=None`` covers the whole map (global pooling).

    Rows and columns that do not fill a window are dropped. Where there is ``padding``, windows
    overhang the map: only what lies inside counts, for an average, too (TensorFlow's SAME;
    PyTorch's ``count_include_pad=False``).
    """

    activation: ClassVar[Activation] = Activation.NONE

    name: str
    input: str
    kind: str = "avg"
    kernel: Pair | None = None
    stride: Pair | None = None
    padding: Padding = field(default=(0, 0), metadata={"younger than files": True})

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", even(self.padding))

    @property
    def pads(self) -> tuple[Pair, Pair]:
        """((top, bottom), (left, right)) by which windows may overhang the map."""
        return sides(self.padding)

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """None."""
        return ()

    def window(self, shape: Shape) -> tuple[Pair, Pair]:
        """(kernel, stride) for an input of ``shape``; the stride defaults to the kernel."""
        kernel = self.kernel or (shape[1], shape[2])
        return kernel, self.stride or kernel

    def check(self, *inputs: Shape) -> None:
        """Raise GraphError unless kind and window make sense."""
        if self.kind not in KINDS:
            raise GraphError(f"node {self.name!r}: kind must be 'avg' or 'max', not {self.kind!r}")
        kernel, stride = self.window(inputs[0])
        at_least(1, self.name, kernel=kernel, stride=stride)
        at_least(0, self.name, padding=self.padding)
        if any(max(pads) >= size for pads, size in zip(self.pads, kernel, strict=True)):
            raise GraphError(
                f"node {self.name!r}: padding {self.padding} leaves windows of {kernel} that are "
                "empty; it must be smaller than the kernel"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output for an input of ``shape``."""
        return (shape[0], *slid(shape, *self.window(shape), self.padding))

    def macs(self, shape: Shape) -> int:
        """None: it multiplies nothing."""
        return 0
