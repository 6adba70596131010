"""Which shapes the kernels take: what their C functions check, known before anything is written.

Ours refuse at run time what is outside these limits; CMSIS-NN keeps sizes in 16 bits and would
compute something else without a word.
"""

from __future__ import annotations

from math import prod

from fedtiny.firmware.workspace import ConvShape

MAX_SIDE = 65_535
"""Largest height, width, channel count, stride, padding, and weights of one output channel."""

MAX_VALUES = 2**28
"""Most values of a tensor, padding included."""

MAX_DEPTHWISE_SIDE = 32_767
"""Largest height and width for ``arm_depthwise_conv_wrapper_s8``: its positions are int16."""


def fits(values: int) -> bool:
    """Whether a tensor of so many values is within the limit."""
    return values <= MAX_VALUES


def conv_in_limits(shape: ConvShape, filter_channels: int) -> bool:
    """Whether the convolution kernels take ``shape``: ``fedtiny_conv_shape_init``'s checks.

    Args:
        shape: of the layer.
        filter_channels: innermost size of the filter: of the input, or for a depthwise layer of
            the output.
    """
    sides = (*shape.input, *shape.output, *shape.kernel, *shape.stride, *shape.padding)
    overhangs = zip(shape.overhang, shape.padding, shape.kernel, strict=True)
    return (
        max(*sides, prod(shape.kernel) * filter_channels) <= MAX_SIDE
        and all(after <= max(before, kernel - 1) for after, before, kernel in overhangs)
        and fits(prod(shape.framed) * shape.input[2])
        and fits(prod(shape.output))
    )


def cmsis_nn_depthwise_in_limits(shape: ConvShape) -> bool:
    """Whether, besides, CMSIS-NN's depthwise kernels compute ``shape``."""
    return max(*shape.input[:2], *shape.output[:2]) <= MAX_DEPTHWISE_SIDE
