"""TensorFlow Lite's operators without weights as integer nodes, and those that need none."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np

from fedtiny.importing.tflite_assembly import NO_PADS, Assembly, clamped, positive
from fedtiny.importing.tflite_functions import rescaled
from fedtiny.importing.tflite_layers import positions, walk
from fedtiny.models.ops.tensor import Pair
from fedtiny.models.ops.upsample import cells
from fedtiny.quant.ops.add import ADD_LEFT_SHIFT, IntegerAdd
from fedtiny.quant.ops.concat import IntegerConcat
from fedtiny.quant.ops.lookup import IntegerLookup
from fedtiny.quant.ops.mean import IntegerMean
from fedtiny.quant.ops.pool import IntegerPool
from fedtiny.quant.ops.upsample import IntegerUpsample
from fedtiny.quant.requantize import normalized
from fedtiny.quant.tensors import INT8_MAX, INT8_MIN


def add(assembly: Assembly) -> None:
    """ADD of two variables of one shape."""
    if any(map(assembly.is_constant, range(2))):
        raise assembly.refuse(
            "it adds a constant", "fold constants into the biases of the layer before"
        )
    left, right = assembly.variable(0), assembly.variable(1)
    if left.shape != right.shape:
        raise assembly.refuse(
            f"it adds {left.shape} and {right.shape} (C, H, W)", "broadcasts are not taken"
        )
    first, second = assembly.source(left), assembly.source(right)
    output = assembly.quantized(assembly.output(), first.shape)
    # as its preparation has it: single-precision scales, quotients in double
    twice = 2 * float(max(first.scale, second.scale))
    total = twice / ((1 << ADD_LEFT_SHIFT) * output.scale)
    if total >= 1:
        raise assembly.refuse("scales that no multiplier holds", "convert again")
    factors = np.array([first.scale / twice, second.scale / twice, total])
    multipliers, shifts = normalized(factors)
    bounds = clamped(assembly.operator.options["FusedActivationFunction"], output, assembly)
    node = IntegerAdd(
        assembly.new_name(), left.name, right.name, int(multipliers[0]), int(multipliers[1]),
        bounds, int(multipliers[2]), (int(shifts[0]), int(shifts[1]), int(shifts[2])),
    )  # fmt: skip
    assembly.add(node, output, left.shape)


def concatenate(assembly: Assembly) -> None:
    """CONCATENATION of channels in one scale."""
    values = [assembly.variable(number) for number in range(len(assembly.operator.inputs))]
    sources = [assembly.framed(value) for value in values]
    tensor, options = assembly.output(), assembly.operator.options
    shape = assembly.sample_shape(tensor)
    if options["Axis"] % len(tensor.shape) != len(tensor.shape) - 1 or len(values) < 2:
        raise assembly.refuse(
            f"it joins {len(values)} tensors along axis {options['Axis']}", "only channels are"
        )
    output = assembly.quantized(tensor, shape)
    for source in sources:
        assembly.require_same_scale(source, output)
    sizes = {source.shape[1:] for source in sources}
    if sizes != {shape[1:]} or sum(source.shape[0] for source in sources) != shape[0]:
        raise assembly.refuse(
            f"its inputs do not make {shape} (C, H, W)", "the file is damaged: convert again"
        )
    if options["FusedActivationFunction"]:
        raise assembly.refuse("it has an activation", "activate its inputs instead")
    names = tuple(value.name for value in values)
    node = IntegerConcat(assembly.new_name(), names, (None,) * len(names))
    assembly.add(node, output)


def pool(assembly: Assembly) -> None:
    """AVERAGE_POOL_2D and MAX_POOL_2D."""
    value = assembly.variable(0)
    source, options = assembly.framed(value), assembly.operator.options
    height, width = positive((options["FilterHeight"], options["FilterWidth"]), "windows", assembly)
    kernel = (height, width)
    stride, before = walk(assembly, value, kernel)
    shape = (source.shape[0], *positions(assembly, value, kernel, stride))
    output = assembly.quantized(assembly.output(), shape)
    if assembly.sample_shape(assembly.output()) != shape or min(shape) < 1:
        raise assembly.refuse(
            f"its result should have the shape {shape}", "the file is damaged: convert again"
        )
    assembly.require_same_scale(source, output)
    bounds = clamped(options["FusedActivationFunction"], output, assembly)
    kind = "max" if assembly.operator.kind == "MAX_POOL_2D" else "avg"
    node = IntegerPool(assembly.new_name(), value.name, kind, kernel, stride, before, bounds)
    assembly.add(node, output)


def mean(assembly: Assembly) -> None:
    """MEAN over height and width."""
    value = assembly.variable(0)
    source, tensor = assembly.framed(value), assembly.output()
    dimensions = len(assembly.tensor(assembly.input_index(0)).shape)
    axes = assembly.constant(1, "INT32", np.int32).reshape(-1)
    found = sorted(int(axis) % dimensions for axis in axes)
    if found != list(range(1, dimensions - 1)):
        raise assembly.refuse(
            f"a mean over axes {found} of {dimensions}", "only height and width together are taken"
        )
    channels, height, width = source.shape
    if prod(tensor.shape) != channels:
        raise assembly.refuse(
            f"its result has the shape {tensor.shape}", "the file is damaged: convert again"
        )
    output = assembly.quantized(tensor, (channels, 1, 1))
    multiplier, shift = _mean_rescaling(source.scale / output.scale, height * width)
    bounds = (INT8_MIN, INT8_MAX)
    node = IntegerMean(assembly.new_name(), value.name, multiplier, shift, bounds)
    assembly.add(node, output, assembly.sample_shape(tensor))


def _mean_rescaling(factor: float, cells: int) -> tuple[int, int]:
    """(multiplier, shift) of ``factor / cells``; the division, after rounding, is cut off."""
    found, exponent = normalized(factor)
    multiplier, shift = int(found), int(exponent)
    raised = min(cells.bit_length() - 1, 32, 31 + shift)
    return (multiplier << raised) // cells, shift - raised


def enlarge(assembly: Assembly) -> None:
    """RESIZE_NEAREST_NEIGHBOR to a larger map, where its cells are those that we read."""
    value, tensor = assembly.variable(0), assembly.output()
    source, options = assembly.framed(value), assembly.operator.options
    height, width = assembly.constant(1, "INT32", np.int32, (2,)).tolist()
    output = assembly.quantized(tensor, assembly.sample_shape(tensor))
    assembly.require_same_scale(source, output)
    if output.shape != (source.shape[0], height, width):
        raise assembly.refuse(
            f"its result should have the shape {(source.shape[0], height, width)}",
            "the file is damaged: convert again",
        )
    for old, new in zip(source.shape[1:], output.shape[1:], strict=True):
        corners, centres = bool(options["AlignCorners"]), bool(options["HalfPixelCenters"])
        if new < old or _nearest(old, new, corners, centres) != cells(old, new):
            raise assembly.refuse(
                f"it makes {source.shape[1:]} into {output.shape[1:]} by other cells than "
                "y * old // new",
                "enlarge by whole factors, without align_corners",
            )
    assembly.add(IntegerUpsample(assembly.new_name(), value.name), output)


def _nearest(old: int, new: int, corners: bool, centres: bool) -> tuple[int, ...]:
    """Its own cells, by ratios in single precision.

    >>> _nearest(2, 4, False, True), _nearest(2, 4, True, False)
    ((0, 0, 1, 1), (0, 0, 1, 1))
    """
    ends = (old - 1, new - 1) if corners and new > 1 else (old, new)
    ratio = np.float32(ends[0]) / np.float32(ends[1])
    places = (np.arange(new, dtype=np.float32) + np.float32(0.5 * centres)) * ratio
    whole = np.floor(places + np.float32(0.5)) if corners else np.floor(places)
    return tuple(np.minimum(whole, old - 1).astype(int).tolist())


def pad(assembly: Assembly) -> None:
    """PAD with the zero point: the next convolution's padding."""
    value, tensor = assembly.variable(0), assembly.output()
    dimensions = len(tensor.shape)
    amounts = assembly.constant(1, "INT32", np.int32, (dimensions, 2)).tolist()
    around: list[Pair] = [(int(before), int(after)) for before, after in amounts]
    if min(min(pair) for pair in around) < 0 or (around[0], around[-1]) != NO_PADS:
        raise assembly.refuse(f"padding {around}", "only height and width are padded")
    sides = around[1:-1] if dimensions == 4 else [(0, 0), *around[1:-1]]
    output = assembly.quantized(tensor, assembly.sample_shape(tensor))
    assembly.require_same_scale(assembly.source(value), output)
    wide = (value.shape[0], value.shape[1] + sum(sides[0]), value.shape[2] + sum(sides[1]))
    if wide != output.shape:
        raise assembly.refuse(
            f"its result should have the shape {wide}", "the file is damaged: convert again"
        )
    assembly.framed(value)
    assembly.bind(replace(value, shape=wide, pads=(sides[0], sides[1])))


def reshape(assembly: Assembly) -> None:
    """RESHAPE and its like: the same bytes."""
    value, tensor = assembly.variable(0), assembly.output()
    seen = assembly.seen_as(value, tensor)
    assembly.require_same_scale(assembly.source(value), assembly.quantized(tensor, seen.shape))
    assembly.bind(seen)


def quantize(assembly: Assembly) -> None:
    """QUANTIZE of int8 to another scale; of the float input, or to bytes at the end, nothing."""
    value, tensor = assembly.variable(0), assembly.output()
    source = assembly.source(value)
    if tensor.kind == "UINT8" and len(tensor.scales) == 1:
        if (float(tensor.scales[0]), int(tensor.zero_points[0]) - 128) == (
            source.scale,
            source.zero_point,
        ):
            assembly.bind(value)
            return
        raise assembly.refuse("bytes of another scale", "let the output be int8")
    output = assembly.quantized(tensor, source.shape)
    if output == source:
        assembly.bind(value)
        return
    table = rescaled(source, output, (INT8_MIN, INT8_MAX))
    assembly.add(IntegerLookup(assembly.new_name(), value.name, table), output, value.shape)


def nothing(assembly: Assembly) -> None:
    """DEQUANTIZE of the output: the firmware's outputs are int8."""
    assembly.bind(assembly.variable(0))


def shape_arithmetic(assembly: Assembly) -> None:
    """SHAPE, STRIDED_SLICE and PACK of a RESHAPE's new shape, which its result says anyway."""
    if assembly.output().kind not in ("INT32", "INT64"):
        raise assembly.refuse(
            f"it makes {assembly.output().kind}", "only a RESHAPE's shape is computed by it"
        )


def softmax(assembly: Assembly) -> None:
    """SOFTMAX of the output: nothing, for it changes no order; anywhere else it is refused."""
    value = assembly.variable(0)
    ends = set(assembly.model.outputs)
    for operator in assembly.model.operators[assembly.position + 1 :]:
        if assembly.operator.outputs[0] in operator.inputs:
            if operator.kind not in ("DEQUANTIZE", "QUANTIZE", "RESHAPE"):
                raise assembly.refuse(
                    f"its result is read by {operator.kind}", "softmax is taken at the end only"
                )
            ends |= set(operator.outputs)
    assembly.remarks.append(
        "the softmax at the end is left out: outputs are what it was applied to, in the same order"
    )
    assembly.bind(value)
