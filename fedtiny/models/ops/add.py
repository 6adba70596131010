"""The residual join, with its activation."""

from __future__ import annotations

from dataclasses import dataclass

from fedtiny.models.ops.activation import Activation
from fedtiny.models.ops.tensor import GraphError, Shape
from fedtiny.models.parameters import Parameter


@dataclass(frozen=True, slots=True)
class Add:
    """Element-wise sum of two tensors of one shape, then the activation."""

    name: str
    left: str
    right: str
    activation: Activation = Activation.RELU

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.left, self.right)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """None."""
        return ()

    def check(self, *inputs: Shape) -> None:
        """Raise GraphError unless both inputs have one shape."""
        left, right = inputs
        if left != right:
            raise GraphError(f"node {self.name!r} adds {left} and {right}, which differ")

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of both inputs."""
        return shape

    def macs(self, shape: Shape) -> int:
        """None: additions are not counted."""
        return 0
