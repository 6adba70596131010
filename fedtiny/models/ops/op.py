"""What every op says about itself; passes over graphs ask nothing else of it."""

from __future__ import annotations

from typing import Protocol

from fedtiny.models.ops.activation import Activation
from fedtiny.models.ops.tensor import Shape
from fedtiny.models.parameters import Parameter


class Op(Protocol):
    """A node of a graph: a frozen dataclass whose fields are what files keep of it."""

    @property
    def name(self) -> str:
        """Unique in the graph; also the name of the tensor it produces."""

    @property
    def activation(self) -> Activation:
        """Applied to the result before anybody reads it."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """What it holds, in checkpoint order."""

    def check(self, *inputs: Shape) -> None:
        """Raise GraphError unless its fields make sense and ``inputs`` fit them."""

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the result, for a first input of ``shape``."""

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates for one sample with all weights, for a first input of ``shape``."""
