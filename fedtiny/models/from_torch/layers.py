"""Convolutions, linear layers and the batch norms that belong to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from torch import fx

from fedtiny.models.from_torch.drawing import Drawing, Value
from fedtiny.models.from_torch.refusal import module_of, operation, refusal
from fedtiny.models.ops import Activation, Conv, Linear
from fedtiny.models.ops.conv import BATCH_NORM_EPSILON
from fedtiny.models.ops.tensor import Padding, Pair
from fedtiny.models.parameters import ParameterKind
from fedtiny.sparse.tensor import Floats

BatchNorm = dict[ParameterKind, Floats]
"""The four arrays of a batch norm with our epsilon, float32 (C,)."""


def convolution(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """Of one or two dimensions; a series is a map of height 1."""
    if given.get("transposed"):
        raise refusal(
            call,
            "it is transposed; maps are only enlarged by their nearest cells: "
            "nn.Upsample(scale_factor=2), then a convolution",
        )
    name, weight = _weight(call, given["weight"], draw)
    dims = weight.ndim - 2
    if dims not in (1, 2):
        raise refusal(call, f"it is {dims}-D; use 1-D or 2-D convolutions")
    source = draw.value(call, given["input"], dims + 1, padded=True)
    if _pair(given["dilation"], dims, 1) != (1, 1):
        raise refusal(
            call,
            f"its dilation is {given['dilation']}; kernels here are without holes: use dilation 1 "
            "and a larger kernel, or a stride",
        )
    weight = weight.reshape(*weight.shape[:2], *_pair(weight.shape[2:], dims, 1))
    bias = draw.constant(call, given["bias"], "bias")
    kernel = (weight.shape[2], weight.shape[3])
    node = Conv(
        name,
        source.tensor,
        in_channels=weight.shape[1] * given["groups"],
        out_channels=weight.shape[0],
        kernel=kernel,
        stride=_pair(given["stride"], dims, 1),
        padding=_padding(given["padding"], dims, kernel, source),
        groups=given["groups"],
        batch_norm=False,
        activation=Activation.NONE,
        block=block(call),
    )
    return draw.add(call, node, _affine(weight, bias))


def linear(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """Over all features of a sample."""
    name, weight = _weight(call, given["weight"], draw)
    source = draw.value(call, given["input"])
    if any(size != 1 for size in source.shape[:-1]):
        raise refusal(
            call,
            f"it works on the last dimension of {source.shape}, place by place; flatten before "
            "it (torch.flatten(x, 1)), or use a convolution of kernel 1 over channels",
        )
    bias = draw.constant(call, given["bias"], "bias")
    outputs, features = weight.shape
    node = Linear(name, source.tensor, features, outputs, block=block(call))
    return draw.add(call, node, _affine(weight, bias))


def batch_norm(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """Part of the convolution before it, folded into a linear layer, or a layer of its own."""
    source = draw.value(call, given["input"])
    node = draw.nodes.get(source.tensor)
    norm = _norm(call, given, draw, source)
    bare = node and node.activation is Activation.NONE and draw.alone(given["input"])
    if bare and isinstance(node, Conv) and not node.batch_norm:
        _join(node, norm, draw)
    elif bare and isinstance(node, Linear):
        _fold(node, norm, draw)
    else:
        return each_channel(call, draw, source, norm)
    return Value(node.name, draw.shape(call), call)


def each_channel(
    call: fx.Node,
    draw: Drawing,
    source: Value,
    norm: BatchNorm,
    activation: Activation = Activation.NONE,
) -> Value:
    """What no layer can take in: a depthwise convolution of 1×1 that multiplies by 1.

    Args:
        call: that asks for it.
        draw: drawing.
        source: what it works on.
        norm: batch norm after it; empty for none.
        activation: after that.
    """
    channels = draw.shapes[source.tensor][0]
    node = Conv(
        draw.name_of(call),
        source.tensor,
        channels,
        channels,
        (1, 1),
        groups=channels,
        batch_norm=bool(norm),
        activation=activation,
        block=block(call),
        prunable=False,
        trainable=bool(norm),
    )
    bias = {} if norm else {ParameterKind.BIAS: np.zeros(channels, np.float32)}
    ones = np.ones(node.weight_shape, np.float32)
    return draw.add(call, node, {ParameterKind.WEIGHT: ones, **norm, **bias})


def block(call: fx.Node) -> str:
    """The part of the network that a call belongs to: its outermost module but the root.

    >>> block(fx.Graph().placeholder("x"))
    ''
    """
    return module_of(call)[0].partition(".")[0]


def _weight(call: fx.Node, given: object, draw: Drawing) -> tuple[str, Floats]:
    """A name for the layer, and its weight, which no other layer may have."""
    found = draw.constant(call, given, "weight")
    if found is None:
        raise refusal(call, "it has no weight")
    name, weight = found
    path, kind = module_of(call)
    own = path if kind.startswith("torch.nn.modules.") else name.removesuffix(".weight")
    layer = draw.unused(own or path or operation(call))
    key = name or str(given)
    if key in draw.layer_of:
        raise refusal(
            call,
            f"its weight {key!r} is that of layer {draw.layer_of[key]!r} already; layers share "
            "none: give each its own",
        )
    draw.layer_of[key] = layer
    return layer, weight


def _affine(weight: Floats, bias: tuple[str, Floats] | None) -> dict[ParameterKind, Floats]:
    none = np.zeros(len(weight), np.float32)
    return {
        ParameterKind.WEIGHT: weight,
        ParameterKind.BIAS: none if bias is None else bias[1],
    }


def _norm(call: fx.Node, given: Mapping[str, Any], draw: Drawing, source: Value) -> BatchNorm:
    """With our epsilon in place of the call's: the scale makes up for it, exactly."""
    if given.get("training") or given["running_mean"] is None:
        raise refusal(
            call,
            "it normalises by the batch, and firmware sees one sample: use "
            "track_running_stats=True and train it",
        )
    channels = draw.shapes[source.tensor][0]
    if source.shape[0] != channels:
        raise refusal(
            call,
            f"it works on {source.shape[0]} channels of what has {channels}: put it before the "
            "view, or after the linear layer",
        )
    mean, variance, scale, shift = (
        draw.constant(call, given[key], key)
        for key in ("running_mean", "running_var", "weight", "bias")
    )
    assert mean is not None
    assert variance is not None
    if (variance[1] < 0).any():
        raise refusal(call, f"its {variance[0]!r} has negative values; the training diverged")
    gain = np.ones(channels) if scale is None else scale[1].astype(np.float64)
    spread = variance[1].astype(np.float64)
    gain *= np.sqrt((spread + BATCH_NORM_EPSILON) / (spread + given["eps"]))
    return {
        ParameterKind.BN_SCALE: gain.astype(np.float32),
        ParameterKind.BN_SHIFT: np.zeros(channels, np.float32) if shift is None else shift[1],
        ParameterKind.RUNNING_MEAN: mean[1],
        ParameterKind.RUNNING_VAR: variance[1],
    }


def _join(node: Conv, norm: BatchNorm, draw: Drawing) -> None:
    """The convolution's bias only moves the mean that is subtracted after it."""
    bias = draw.arrays[ParameterKind.BIAS.of(node.name)]
    mean = norm[ParameterKind.RUNNING_MEAN] - bias
    draw.change(replace(node, batch_norm=True), norm | {ParameterKind.RUNNING_MEAN: mean})


def _fold(node: Linear, norm: BatchNorm, draw: Drawing) -> None:
    """A linear layer has no batch norm of its own: gain and shift go into weight and bias."""
    weight, bias = (
        draw.arrays[kind.of(node.name)].astype(np.float64)
        for kind in (ParameterKind.WEIGHT, ParameterKind.BIAS)
    )
    scale, shift, mean, variance = (array.astype(np.float64) for array in norm.values())
    gain = scale / np.sqrt(variance + BATCH_NORM_EPSILON)
    folded = {
        ParameterKind.WEIGHT: (weight * gain[:, None]).astype(np.float32),
        ParameterKind.BIAS: ((bias - mean) * gain + shift).astype(np.float32),
    }
    draw.change(node, folded)


def _pair(sizes: object, dims: int, along: int) -> Pair:
    """(height, width) of one or two sizes; ``along`` the height of a series."""
    values = tuple(sizes) if isinstance(sizes, list | tuple) else (sizes,)
    values = values * dims if len(values) == 1 else values
    return (along, values[0]) if dims == 1 else (values[0], values[1])


def _padding(given: object, dims: int, kernel: Pair, source: Value) -> Padding:
    """The convolution's own padding, and what was put around its input before."""
    if given == "valid":
        given = 0
    if given == "same":  # at stride 1; of an odd number of cells, the last side has one more
        own = [((size - 1) // 2, size // 2) for size in kernel]
    else:
        own = [(size, size) for size in _pair(given, dims, 0)]
    (top, bottom), (left, right) = (
        (mine[0] + theirs[0], mine[1] + theirs[1])
        for mine, theirs in zip(own, source.pads, strict=True)
    )
    return (top, bottom, left, right)
