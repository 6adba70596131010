"""Calls without weights: activations, sums, pools, views, and those that do nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from math import inf, prod
from typing import Any

import torch
from torch import Tensor, fx

from fedtiny.models.from_torch.drawing import Drawing, Value
from fedtiny.models.from_torch.layers import each_channel
from fedtiny.models.from_torch.refusal import refusal
from fedtiny.models.ops import Activation, Add, Concat, Pool, Upsample
from fedtiny.models.ops.tensor import Padding, Pair
from fedtiny.models.ops.upsample import cells

CLAMPS = {(0.0, inf): Activation.RELU, (0.0, 6.0): Activation.RELU6}
"""Activations by the interval that they limit values to."""


def relu(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """ReLU."""
    return _activation(call, given, draw, Activation.RELU)


def relu6(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """ReLU6 by its own name."""
    return _activation(call, given, draw, Activation.RELU6)


def hard_swish(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """Hard-swish."""
    return _activation(call, given, draw, Activation.HARD_SWISH)


def clamp(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """ReLU or ReLU6 as ``hardtanh(0, 6)``, ``clamp(min=0)`` or ``clamp_min(0)``."""
    low, high = (given.get(a, given.get(b)) for a, b in (("min_val", "min"), ("max_val", "max")))
    limits = (-inf if low is None else float(low), inf if high is None else float(high))
    if limits not in CLAMPS:
        raise refusal(call, f"it clamps to {limits}; only ReLU's (0, ∞) and ReLU6's (0, 6) may be")
    return _activation(call, given, draw, CLAMPS[limits])


def _activation(
    call: fx.Node, given: Mapping[str, Any], draw: Drawing, activation: Activation
) -> Value:
    argument = given.get("self", given.get("input"))
    source = draw.value(call, argument)
    if draw.activate(argument, activation):
        return Value(source.tensor, source.shape, call)
    made = each_channel(call, draw, source, {}, activation)
    return Value(made.tensor, source.shape, call)


def add(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """The sum of two tensors of one shape."""
    if given.get("alpha", 1) != 1:
        raise refusal(call, f"it multiplies by alpha = {given['alpha']}; add without")
    sides = [draw.value(call, given[key]) for key in ("self", "other")]
    shapes = [draw.shapes[side.tensor] for side in sides]
    if sides[0].shape != sides[1].shape or shapes[0] != shapes[1]:
        raise refusal(
            call,
            f"it adds {sides[0].shape} and {sides[1].shape}; both must be of one shape, nothing "
            "is repeated",
        )
    left, right = (side.tensor for side in sides)
    return draw.add(call, Add(draw.name_of(call), left, right, Activation.NONE), {})


def join(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """The channels of several tensors, one after the other."""
    parts = [draw.value(call, one) for one in given["tensors"]]
    rank = len(parts[0].shape) + 1
    if given["dim"] % rank != 1:
        raise refusal(
            call, f"it joins along dimension {given['dim']}; only channels may be, dimension 1"
        )
    parts = [draw.value(call, one, rank - 1) for one in given["tensors"]]
    channels = sum(part.shape[0] for part in parts)
    node = Concat(draw.name_of(call), tuple(part.tensor for part in parts), channels)
    return draw.add(call, node, {})


def pool(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """Average or maximum pooling; windows may overhang, if averages count what lies inside."""
    source = draw.value(call, given["self"], 2 if "1d" in str(call.target) else 3)
    padding = _pair(given["padding"], source, 0)
    if any(padding) and given.get("count_include_pad", False):
        raise refusal(
            call,
            f"its average counts padding of {given['padding']}; use count_include_pad=False, or "
            "none",
        )
    if any(size != 1 for size in _numbers(given.get("dilation", 1))):
        raise refusal(call, f"its dilation is {given['dilation']}; use 1")
    if given.get("divisor_override") is not None:
        raise refusal(call, "it divides by a number of its own; leave divisor_override out")
    kernel = _pair(given["kernel_size"], source)
    stride = _pair(given["stride"] or given["kernel_size"], source)
    sizes = zip(draw.shapes[source.tensor][1:], kernel, stride, padding, strict=True)
    after = [_after(*one, given["ceil_mode"]) for one in sizes]
    return _pool(call, draw, source, kernel, stride, (padding[0], after[0], padding[1], after[1]))


def _after(size: int, kernel: int, stride: int, padding: int, ceil: bool) -> int:
    """Cells by which the last window overhangs: PyTorch's rule for ``ceil_mode``.

    >>> _after(6, 4, 4, 0, ceil=True), _after(7, 3, 2, 1, ceil=False)
    (2, 1)
    """
    if not ceil:
        return padding
    windows = -((kernel - size - 2 * padding) // stride) + 1
    if (windows - 1) * stride >= size + padding:  # the last would see nothing of the map
        windows -= 1
    return max(0, (windows - 1) * stride + kernel - size - padding)


def adaptive_pool(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """Pooling to a given size that divides the input's."""
    source = draw.value(call, given["self"], 2 if "1d" in str(call.target) else 3)
    _, height, width = draw.shapes[source.tensor]
    wanted = _pair(given["output_size"], source)
    sizes = [(size, want or size) for size, want in zip((height, width), wanted, strict=True)]
    if any(size % want for size, want in sizes):
        raise refusal(
            call,
            f"{height}×{width} cannot be divided into {wanted} equal windows; choose divisors, "
            "such as 1",
        )
    kernel = (sizes[0][0] // sizes[0][1], sizes[1][0] // sizes[1][1])
    return _pool(call, draw, source, kernel, kernel)


def mean(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """The mean or maximum over height, width or both: a pool that covers them."""
    rank = len(draw.value(call, given["self"]).shape) + 1
    source = draw.value(call, given["self"], rank - 1)
    dims = _numbers(given["dim"]) if given["dim"] is not None else []
    places = sorted(dim % rank for dim in dims)
    _, height, width = draw.shapes[source.tensor]
    covers = {(rank - 1,): (1, width), (rank - 2,): (height, 1), (rank - 2, rank - 1): None}
    if tuple(places) not in covers or (rank == 3 and places != [2]) or rank < 3:
        raise refusal(
            call,
            f"it is over the dimensions {dims} of (N, {', '.join(map(str, source.shape))}); only "
            "height, width or time may be averaged",
        )
    kernel = covers[tuple(places)] or (height, width)
    return _pool(call, draw, source, kernel, kernel)


def _pool(
    call: fx.Node,
    draw: Drawing,
    source: Value,
    kernel: Pair,
    stride: Pair,
    padding: Padding = (0, 0),
) -> Value:
    kind = "max" if "max" in str(call.target) else "avg"
    name = draw.name_of(call)
    whole = kernel == draw.shapes[source.tensor][1:] and not any(padding)
    node = Pool(name, source.tensor, kind, None if whole else kernel, stride, padding)
    return draw.add(call, replace(node, stride=None) if whole else node, {})


def enlarge(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """A map by its nearest cells, where PyTorch's rounding of scales reads those that we read."""
    source = draw.value(call, given["input"], 2 if "1d" in str(call.target) else 3)
    sizes, wanted = source.shape[1:], draw.shape(call)[1:]
    node = Upsample(draw.name_of(call), source.tensor, _pair(wanted, source))
    made = draw.add(call, node, {})
    ours = torch.arange(prod(sizes), dtype=torch.float64).reshape(1, 1, *sizes)
    theirs = call.target(ours, given["output_size"], given["scale_factors"])  # type: ignore[operator]
    for axis, ends in enumerate(zip(sizes, wanted, strict=True), start=2):
        ours = ours.index_select(axis, torch.tensor(cells(*ends)))
    if not torch.equal(ours, theirs):
        raise refusal(
            call,
            f"it makes {sizes} into {wanted} by other cells than y · old // new; enlarge by whole "
            "factors",
        )
    return made


def pad(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """Zeros around a map, for the convolution that reads it."""
    source = draw.value(call, given["self"])
    source = draw.value(call, given["self"], len(source.shape), padded=True)
    if given.get("mode", "constant") != "constant":
        raise refusal(call, "padding cells can only hold 0; use padding_mode='zeros'")
    amounts = list(given["pad"])
    if given["value"] or min(amounts) < 0 or len(amounts) > 2 * (len(source.shape) - 1):
        raise refusal(
            call,
            f"it pads by {amounts} with {given['value']}; height and width may be padded, with 0",
        )
    left, right, top, bottom = (amounts + [0] * 4)[:4]
    return Value(source.tensor, draw.shape(call), source.origin, ((top, bottom), (left, right)))


def view(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value | Tensor:
    """The same numbers in the same order, in another shape."""
    source = draw.value(call, given["self"])
    return Value(source.tensor, draw.shape(call), source.origin)


def permute(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """Only one that changes no order in memory: where what is moved has size 1."""
    source = draw.value(call, given["self"])
    rank = len(source.shape) + 1
    order = list(range(rank))
    if "dims" in given:
        order = [dim % rank for dim in given["dims"]]
    else:
        a, b = given["dim0"] % rank, given["dim1"] % rank
        order[a], order[b] = b, a
    moved = [dim for dim in order[1:] if dim and source.shape[dim - 1] != 1]
    if order[0] != 0 or any(a > b for a, b in pairwise(moved)):
        raise refusal(
            call,
            f"it changes the order of {source.shape} in memory; give samples as (C, H, W) and keep "
            "that order",
        )
    return Value(source.tensor, draw.shape(call), source.origin)


def nothing(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """A copy, or dropout in evaluation."""
    return draw.value(call, given.get("self", given.get("input")))


def dropout(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """Nothing, unless it draws in evaluation, too."""
    if given.get("train") and given.get("p"):
        raise refusal(
            call,
            "it draws at random in evaluation, too; use nn.Dropout, or pass training=self.training",
        )
    return nothing(call, given, draw)


def softmax(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """Nothing at the end: the largest output stays the largest, and the loss has its own."""
    source = draw.value(call, given["self"])
    at_end = all(user.op == "output" for user in call.users)
    if not at_end or given["dim"] % (len(source.shape) + 1) != 1:
        raise refusal(call, "softmax may only be the last operation, over the outputs")
    return source


def item(call: fx.Node, given: Mapping[str, Any], draw: Drawing) -> Value:
    """The first of what a call gives."""
    if call.args[1] != 0:
        raise refusal(call, "only values are read of pools and batch norms, no indices")
    return draw.value(call, call.args[0])


def _numbers(sizes: object) -> list[int]:
    return list(sizes) if isinstance(sizes, list | tuple) else [sizes]  # type: ignore[list-item]


def _pair(sizes: object, source: Value, along: int = 1) -> Pair:
    """(height, width) of one or two sizes; ``along`` the height of a series."""
    values = _numbers(sizes)
    if len(source.shape) == 2:
        return (along, values[0])
    return (values[0], values[-1])
