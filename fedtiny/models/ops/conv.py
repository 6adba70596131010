"""Convolution, with its batch norm and activation."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

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
from fedtiny.models.parameters import AFFINE, BATCH_NORM, Parameter, parameters_of

BATCH_NORM_EPSILON = 1e-5
"""Added to the variance; every batch norm of the package uses it."""


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution, then batch norm (if any), then the activation (if any).

    Attributes:
        name: unique; parameters are called ``{name}.weight``, ``{name}.bn.running_mean`` …
        input: name of the tensor that is read.
        kernel, stride: (height, width).
        padding: zeros around the input: (height, width), the same on both sides, or
            (top, bottom, left, right), as TensorFlow's SAME asks for at stride 2.
        groups: of channels that are convolved apart; ``in_channels``: depthwise.
        batch_norm: without one the convolution has a bias.
        activation: applied to the result.
        block: adjustment block the layer belongs to (FedTiny, block granularity).
        prunable: whether its weights may be pruned; biases and batch norms never are.
        trainable: whether training changes its parameters; running statistics always follow the
            data.
    """

    name: str
    input: str
    in_channels: int
    out_channels: int
    kernel: Pair
    stride: Pair = (1, 1)
    padding: Padding = (0, 0)
    groups: int = 1
    batch_norm: bool = True
    activation: Activation = Activation.RELU
    block: str = ""
    prunable: bool = True
    trainable: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "padding", even(self.padding))

    @property
    def pads(self) -> tuple[Pair, Pair]:
        """((top, bottom), (left, right))."""
        return sides(self.padding)

    @property
    def is_padded(self) -> bool:
        """Whether any window reads beyond the map."""
        return any(self.padding)

    @property
    def is_depthwise(self) -> bool:
        """Whether every output channel reads one input channel of several."""
        return self.groups == self.in_channels > 1

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(O, I/groups, kernel_h, kernel_w)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """The weight, then a bias or batch norm's four."""
        return parameters_of(
            self.name,
            self.weight_shape,
            BATCH_NORM if self.batch_norm else AFFINE,
            prunable=self.prunable,
            trainable=self.trainable,
        )

    def check(self, *inputs: Shape) -> None:
        """Raise GraphError unless channels and groups fit the input."""
        at_least(
            1, self.name, in_channels=self.in_channels, out_channels=self.out_channels,
            kernel=self.kernel, stride=self.stride, groups=self.groups,
        )  # fmt: skip
        at_least(0, self.name, padding=self.padding)
        if inputs[0][0] != self.in_channels:
            raise GraphError(
                f"node {self.name!r} expects {self.in_channels} input channels, "
                f"{self.input!r} has {inputs[0][0]}"
            )
        if self.in_channels % self.groups or self.out_channels % self.groups:
            raise GraphError(f"node {self.name!r}: groups={self.groups} divides not both sides")

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output for an input of ``shape``."""
        return (self.out_channels, *slid(shape, self.kernel, self.stride, self.padding))

    def macs(self, shape: Shape) -> int:
        """Multiply-accumulates for one sample; padding counts like input."""
        _, height, width = self.output_shape(shape)
        return prod(self.weight_shape) * height * width
