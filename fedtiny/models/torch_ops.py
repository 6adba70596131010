"""Each op and activation in PyTorch: tables that :mod:`fedtiny.models.torch_module` looks up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import singledispatch
from math import inf

import torch
from torch import Tensor
from torch.nn import functional

from fedtiny.models.ops import Activation, Add, Concat, Conv, Linear, Pool, Upsample
from fedtiny.models.ops.conv import BATCH_NORM_EPSILON
from fedtiny.models.ops.upsample import cells
from fedtiny.models.parameters import BATCH_NORM, ParameterKind


@dataclass(frozen=True, slots=True)
class Context:
    """What ops need besides their inputs.

    Attributes:
        tensor: the array of a kind that belongs to a layer.
        training: normalise by the batch's statistics and update the running ones.
        momentum: weight of the newest batch in the running statistics.
    """

    tensor: Callable[[str, ParameterKind], Tensor]
    training: bool
    momentum: float


@singledispatch
def forward(node: object, inputs: Sequence[Tensor], context: Context) -> Tensor:
    """A node's value before its activation, ``(N, C, H, W)`` or ``(N, C)`` where H = W = 1."""
    raise TypeError(f"{type(node).__name__} has no form in PyTorch")


@forward.register
def _conv(node: Conv, inputs: Sequence[Tensor], context: Context) -> Tensor:
    weight = context.tensor(node.name, ParameterKind.WEIGHT)
    bias = None if node.batch_norm else context.tensor(node.name, ParameterKind.BIAS)
    x, padding = inputs[0], node.padding
    if len(padding) == 4:  # what PyTorch's convolution cannot say
        x, padding = _padded(x, node), (0, 0)
    y = functional.conv2d(x, weight, bias, node.stride, padding, 1, node.groups)
    return normed(node, y, context)


def normed(node: Conv, y: Tensor, context: Context) -> Tensor:
    """A convolution's result, ``(N, C, H, W)``, after its batch norm; as it is if it has none."""
    if not node.batch_norm:
        return y
    scale, shift, mean, variance = (context.tensor(node.name, kind) for kind in BATCH_NORM)
    if context.training and y.numel() == y.shape[1]:
        return _norm_of_one(y, scale, shift, mean, variance, context.momentum)
    return functional.batch_norm(
        y,
        mean,
        variance,
        scale,
        shift,
        training=context.training,
        momentum=context.momentum,
        eps=BATCH_NORM_EPSILON,
    )


def _norm_of_one(
    y: Tensor, scale: Tensor, shift: Tensor, mean: Tensor, variance: Tensor, momentum: float
) -> Tensor:
    """Batch norm of a single value a channel, which PyTorch refuses: as the sparse engine has it.

    The value is its own mean and its variance is 0: the shift comes out, no gradient goes through,
    and the running statistics take in that mean and that variance.
    """
    with torch.no_grad():
        mean.lerp_(y.flatten(), momentum)
        variance.mul_(1 - momentum)
    channels = (1, -1, 1, 1)
    return (y - y) * scale.view(channels) + shift.view(channels)


@forward.register
def _linear(node: Linear, inputs: Sequence[Tensor], context: Context) -> Tensor:
    weight = context.tensor(node.name, ParameterKind.WEIGHT)
    bias = context.tensor(node.name, ParameterKind.BIAS)
    return functional.linear(inputs[0].flatten(1), weight, bias)


@forward.register
def _add(node: Add, inputs: Sequence[Tensor], context: Context) -> Tensor:
    return inputs[0] + inputs[1]


@forward.register
def _concat(node: Concat, inputs: Sequence[Tensor], context: Context) -> Tensor:
    return torch.cat(list(inputs), 1)


@forward.register
def _pool(node: Pool, inputs: Sequence[Tensor], context: Context) -> Tensor:
    _, channels, height, width = inputs[0].shape
    kernel, stride = node.window((channels, height, width))
    x = inputs[0]
    if node.kind == "max":
        x = _padded(x, node, -inf) if any(node.padding) else x
        return functional.max_pool2d(x, kernel, stride)
    if not any(node.padding):
        return functional.avg_pool2d(x, kernel, stride)
    inside = _padded(torch.ones_like(x[:1, :1]), node)  # the share of each window in the map
    shares = functional.avg_pool2d(inside, kernel, stride)
    return functional.avg_pool2d(_padded(x, node), kernel, stride) / shares


@forward.register
def _upsample(node: Upsample, inputs: Sequence[Tensor], context: Context) -> Tensor:
    for axis, size in zip((2, 3), node.size, strict=True):
        source = torch.tensor(cells(inputs[0].shape[axis], size), device=inputs[0].device)
        inputs = [inputs[0].index_select(axis, source)]
    return inputs[0]


def _padded(x: Tensor, node: Conv | Pool, value: float = 0.0) -> Tensor:
    (top, bottom), (left, right) = node.pads
    return functional.pad(x, (left, right, top, bottom), value=value)


ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.NONE: lambda x: x,
    Activation.RELU: functional.relu_,
    Activation.RELU6: functional.relu6,
    Activation.HARD_SWISH: functional.hardswish,
}
"""Every activation on tensors. Only ReLU's gradient can do without the input: it is in place."""
