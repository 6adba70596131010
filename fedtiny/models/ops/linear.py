"""Fully-connected layer, with its activation."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from fedtiny.models.ops.activation import Activation
from fedtiny.models.ops.tensor import GraphError, Shape, at_least
from fedtiny.models.parameters import AFFINE, Parameter, parameters_of


@dataclass(frozen=True, slots=True)
class Linear:
    """Fully-connected layer with bias over the flattened (C, H, W) input, then the activation.

    The attributes are those of :class:`~fedtiny.models.ops.conv.Conv`.
    """

    name: str
    input: str
    in_features: int
    out_features: int
    activation: Activation = Activation.NONE
    block: str = ""
    prunable: bool = True
    trainable: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out_features, in_features)."""
        return (self.out_features, self.in_features)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The weight and the bias."""
        return parameters_of(
            self.name,
            self.weight_shape,
            AFFINE,
            prunable=self.prunable,
            trainable=self.trainable,
        )

    def check(self, *inputs: Shape) -> None:
        """Raise GraphError unless the input has as many features."""
        at_least(1, self.name, in_features=self.in_features, out_features=self.out_features)
        if prod(inputs[0]) != self.in_features:
            raise GraphError(
                f"node {self.name!r} expects {self.in_features} features, "
                f"{self.input!r} has {prod(inputs[0])}"
            )

    def output_shape(self, shape: Shape) -> Shape:
        """(out_features, 1, 1)."""
        return (self.out_features, 1, 1)

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates for one sample."""
        return prod(self.weight_shape)
