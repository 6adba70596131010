"""Average and maximum pooling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from fedtiny.models.ops.activation import Activation
from fedtiny.models.ops.tensor import GraphError, Pair, Shape, at_least
from fedtiny.models.parameters import Parameter

KINDS = ("avg", "max")


@dataclass(frozen=True, slots=True)
class Pool:
    """Average or maximum over windows; ``kernel=None`` covers the whole map (global pooling).

    Windows never overlap the border: rows and columns that do not fill one are dropped.
    """

    activation: ClassVar[Activation] = Activation.NONE

    name: str
    input: str
    kind: str = "avg"
    kernel: Pair | None = None
    stride: Pair | None = None

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

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output for an input of ``shape``."""
        (kernel_h, kernel_w), (stride_h, stride_w) = self.window(shape)
        return (
            shape[0],
            (shape[1] - kernel_h) // stride_h + 1,
            (shape[2] - kernel_w) // stride_w + 1,
        )

    def macs(self, shape: Shape) -> int:
        """None: it multiplies nothing."""
        return 0
