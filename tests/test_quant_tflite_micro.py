"""One-layer models equal TensorFlow Lite Micro's interpreter (PyPI ``tflite-micro``).

TFLM rescales by a normalised multiplier and rounds twice; we round once unless a layer has shifts
(see ``fedtiny.quant.requantize``). So each layer is compared twice: as we quantize it, on numbers
where the first of TFLM's roundings is exact and nothing is a tie; and on arbitrary numbers with
TFLM's multipliers and shifts. Byte for byte in both.
"""

import platform
import sys
from dataclasses import replace

import numpy as np
import pytest

from fedtiny.models.ops.activation import Activation
from fedtiny.quant import functions, reference
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops import add, lookup, pool, upsample
from fedtiny.quant.ops.add import IntegerAdd
from fedtiny.quant.ops.conv import IntegerConv
from fedtiny.quant.ops.linear import IntegerLinear
from fedtiny.quant.ops.lookup import IntegerLookup
from fedtiny.quant.ops.pool import IntegerPool
from fedtiny.quant.ops.upsample import IntegerUpsample
from fedtiny.quant.requantize import fixed_point, normalized, requantize
from fedtiny.quant.tensors import Int8Tensor, IntegerWeight

if platform.machine() != "x86_64" or sys.platform != "linux":
    pytest.skip("tflite-micro has wheels for x86-64 Linux only", allow_module_level=True)
for package in ("tflite", "flatbuffers", "tflite_micro"):
    pytest.importorskip(package, reason=f"pip install {package}")

from tflite_writer import SAME, VALID, Writer  # noqa: E402 - after what it needs is known to be there
from tflite_writer import interpret as run_micro  # noqa: E402

RELU, RELU6 = 1, 3  # ActivationFunctionType


def fused(node, output):
    """TFLite's name of the activation that the node's clamp is."""
    for function, name in ((Activation.RELU, RELU), (Activation.RELU6, RELU6)):
        if node.clamp == functions.clamp(function, output):
            return name
    return 0


def parameters(model, node, weight, source, weight_scales, axis=0):
    """Indices of the constant weights and biases."""
    weights = model.tensor(weight.shape, weight_scales, data=weight, axis=axis)
    bias_scales = weight_scales * source.scale
    return [weights, model.tensor(node.bias.shape, bias_scales, data=node.bias, kind="INT32")]


def walk(node):
    """Options of a layer with windows."""
    return {
        "Padding": SAME if node.padding != (0, 0) else VALID,
        "StrideH": node.stride[0],
        "StrideW": node.stride[1],
        "DilationHFactor": 1,
        "DilationWFactor": 1,
    }


def tflm_conv(node, x, source, output, weight_scales):
    model, weight = Writer(), node.weight.to_dense()
    entry = model.tensor((1, *x.shape[1:]), source.scale, source.zero_point)
    constants = parameters(model, node, weight, source, weight_scales)
    channels, height, width = output.shape
    y = model.tensor((1, height, width, channels), output.scale, output.zero_point)
    options = walk(node) | {"FusedActivationFunction": fused(node, output)}
    model.operator("CONV_2D", [entry, *constants], y, version=3, **options)
    return run_micro(model.model([entry], [y]), x)


def tflm_depthwise(node, x, source, output, weight_scales):
    model, weight = Writer(), node.weight.to_dense().transpose(3, 1, 2, 0)
    entry = model.tensor((1, *x.shape[1:]), source.scale, source.zero_point)
    constants = parameters(model, node, weight, source, weight_scales, axis=3)
    channels, height, width = output.shape
    y = model.tensor((1, height, width, channels), output.scale, output.zero_point)
    options = walk(node) | {"DepthMultiplier": channels // x.shape[-1]}
    model.operator("DEPTHWISE_CONV_2D", [entry, *constants], y, version=3, **options)
    return run_micro(model.model([entry], [y]), x)


def tflm_linear(node, x, source, output, weight_scales):
    model, weight = Writer(), node.weight.to_dense().reshape(node.weight.shape[0], -1)
    entry = model.tensor((1, weight.shape[1]), source.scale, source.zero_point)
    constants = parameters(model, node, weight, source, weight_scales)
    y = model.tensor((1, weight.shape[0]), output.scale, output.zero_point)
    model.operator("FULLY_CONNECTED", [entry, *constants], y, version=4)
    return run_micro(model.model([entry], [y]), x.reshape(len(x), -1))


# (input (H, W, C), kernel, stride, padding, output channels, density): dense, pruned, strided,
# 1xK signals, pointwise, without padding. Strided maps are odd: TFLite pads even ones on one side.
CONVS = [
    ((8, 8, 8), (3, 3), (1, 1), (1, 1), 16, 1.0),
    ((8, 8, 8), (3, 3), (1, 1), (1, 1), 16, 0.05),
    ((9, 9, 4), (3, 3), (2, 2), (1, 1), 8, 0.3),
    ((7, 9, 3), (3, 3), (1, 1), (0, 0), 5, 0.5),
    ((1, 33, 6), (1, 5), (1, 1), (0, 2), 12, 1.0),
    ((1, 33, 6), (1, 5), (1, 2), (0, 2), 12, 0.1),
    ((7, 7, 16), (1, 1), (1, 1), (0, 0), 24, 0.2),
    ((9, 9, 16), (1, 1), (2, 2), (0, 0), 24, 0.2),
]


def random_layer(rng, kind, case, exact, function=None):
    """A node, its input tensors and weight scales.

    With ``exact``, accumulators are 8 more than a multiple of 16 and scales are k / 2^n with
    odd k < 8: TFLM's first rounding then has nothing to round, and no output is a tie.
    """
    (height, width, inner), kernel, stride, padding, out, density = case
    groups = inner if kind == "depthwise" else 1
    shape = (out, *kernel, inner // groups)
    values = rng.integers(-127, 128, shape) * (rng.random(shape) < density)
    bias = rng.integers(-3000, 3000, out)
    zero_in, zero_out = (int(z) for z in rng.integers(-120, 20, 2))
    x = rng.integers(-128, 128, (6, height, width, inner))
    if exact:
        values, bias = values // 2 * 2, bias // 16 * 16 + 8
        steps = rng.integers(-(zero_in + 128) // 8 + 1, (127 - zero_in) // 8 + 1, x.shape)
        x = zero_in + 8 * steps
        scale_in, scale_out = 2.0**-6, 2.0**-4
        weight_scales = rng.choice([1, 3, 5, 7], out) * 2.0 ** -rng.integers(7, 10, out)
    else:
        scale_in, scale_out = (float(np.float32(s)) for s in rng.uniform(0.01, 0.08, 2))
        weight_scales = rng.uniform(0.0005, 0.004, out)
    weight_scales = weight_scales.astype(np.float32).astype(np.float64)
    indices = np.flatnonzero(values).astype(np.int32)
    weight = IntegerWeight(shape, indices, values.ravel()[indices].astype(np.int8))
    out_h = (height + 2 * padding[0] - kernel[0]) // stride[0] + 1
    out_w = (width + 2 * padding[1] - kernel[1]) // stride[1] + 1
    source = Int8Tensor((inner, height, width), scale_in, zero_in)
    output = Int8Tensor((out, out_h, out_w), scale_out, zero_out)
    clamp = (zero_out, 127) if rng.random() < 0.5 and kind == "conv" else (-128, 127)
    if function is not None:
        clamp = functions.clamp(function, output)
    multiplier = fixed_point(scale_in * weight_scales / scale_out)
    bias = bias.astype(np.int32)
    if kind == "linear":
        node = IntegerLinear("layer", "input", weight, bias, multiplier, clamp)
    else:
        node = IntegerConv(
            "layer", "input", weight, bias, multiplier, stride, padding, groups, clamp
        )
    return node, x.astype(np.int8), source, output, weight_scales


def interpret(node, x, source, output):
    """Our reference on a graph of this one node."""
    entry = None  # the input is already quantized
    graph = IntegerGraph("one", entry, {"input": source, "layer": output}, (node,), "layer")
    return dict(reference.trace(graph, x))["layer"]


CASES = (
    [("conv", case) for case in CONVS]
    + [
        ("depthwise", ((9, 9, 8), (3, 3), (1, 1), (1, 1), 8, 1.0)),
        ("depthwise", ((9, 7, 5), (3, 3), (2, 2), (1, 1), 10, 0.5)),
    ]
    + [
        ("linear", ((1, 1, features), (1, 1), (1, 1), (0, 0), out, density))
        for features, out, density in ((96, 7, 1.0), (512, 40, 0.05))
    ]
)
ORACLES = {"conv": tflm_conv, "depthwise": tflm_depthwise, "linear": tflm_linear}


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_layers_equal_where_rounding_modes_agree(kind, case):
    rng = np.random.default_rng(CASES.index((kind, case)))
    node, x, source, output, scales = random_layer(rng, kind, case, exact=True)
    ours = interpret(node, x, source, output)
    theirs = ORACLES[kind](node, x, source, output, scales)
    assert len(np.unique(ours)) > 10
    np.testing.assert_array_equal(ours.reshape(theirs.shape), theirs)


@pytest.mark.parametrize("case", CONVS[:4])
def test_relu6_is_the_same_clamp(case):
    rng = np.random.default_rng(case[4])
    drawn = random_layer(rng, "conv", case, exact=True, function=Activation.RELU6)
    node, x, source, output, _ = drawn
    ours = interpret(node, x, source, output)
    assert ours.min() == node.clamp[0]
    assert ours.max() == node.clamp[1] < 127
    np.testing.assert_array_equal(ours, tflm_conv(*drawn))


@pytest.mark.parametrize("spread", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("zero_point", [-60, 0, 37])
def test_hard_swish_is_within_a_code_for_every_code(spread, zero_point):
    """TFLM computes it in 16-bit fixed point; our table is the exact function, rounded."""
    source = Int8Tensor((1, 1, 256), float(np.float32(2 * spread / 255)), zero_point)
    high = Activation.HARD_SWISH(np.array(source.scale * (127 - zero_point)))
    output = Int8Tensor.covering((1, 1, 256), -0.375, float(high))
    node = IntegerLookup("layer", "input", functions.table(Activation.HARD_SWISH, source, output))
    x = np.arange(-128, 128, dtype=np.int8).reshape(1, 1, 256, 1)
    ours = lookup.run(node, [x], [source], output)
    model = Writer()
    entry = model.tensor(x.shape, source.scale, source.zero_point)
    y = model.tensor(x.shape, output.scale, output.zero_point)
    model.operator("HARD_SWISH", [entry], y)
    theirs = run_micro(model.model([entry], [y]), x)
    assert np.abs(ours.astype(int) - theirs).max() <= 1
    assert (ours == theirs).mean() > 0.9


@pytest.mark.parametrize(("kind", "case"), CASES)
def test_layers_equal_with_tflite_rounding(kind, case):
    rng = np.random.default_rng(100 + CASES.index((kind, case)))
    node, x, source, output, scales = random_layer(rng, kind, case, exact=False)
    theirs = ORACLES[kind](node, x, source, output, scales)
    shipped = interpret(node, x, source, output).reshape(theirs.shape)
    different = shipped != theirs
    assert different.mean() < 0.005
    assert np.abs(shipped.astype(int) - theirs).max() <= 1
    effective = np.float64(source.scale) * scales / np.float64(output.scale)
    multiplier, shift = normalized(effective)
    ours = interpret(replace(node, multiplier=multiplier, shift=shift), x, source, output)
    np.testing.assert_array_equal(ours.reshape(theirs.shape), theirs)


@pytest.mark.parametrize(
    ("left", "right", "out"),
    [(1.0, 0.5, 1.5), (0.25, 1.0, 0.5), (0.75, 0.75, 1.25), (3.0, 2.0, 4.0)],
)
def test_addition_equals_for_every_pair_of_codes(left, right, out):
    left, right, out = left / 64, right / 64, out / 64
    codes = np.arange(-128, 128, dtype=np.int8)
    a, b = (g.reshape(1, 16, 16, 256) for g in np.meshgrid(codes, codes, indexing="ij"))
    shape = (256, 16, 16)
    tensors = (Int8Tensor(shape, left, -3), Int8Tensor(shape, right, 5))
    output = Int8Tensor(shape, out, -17)
    ratios = fixed_point([left / out / 16, right / out / 16], limit=1.0).tolist()
    node = IntegerAdd("layer", "l", "r", *ratios, (-128, 127))
    ours = add.run(node, [a, b], tensors, output)

    model = Writer()
    entries = [model.tensor(a.shape, tensor.scale, tensor.zero_point) for tensor in tensors]
    y = model.tensor(a.shape, output.scale, output.zero_point)
    model.operator("ADD", entries, y, version=2)
    theirs = run_micro(model.model(entries, [y]), a, b)

    real = (left * (a.astype(float) + 3) + right * (b.astype(float) - 5)) / out
    # On a tie below zero TFLite rounds away from zero, we round up.
    negative_tie = np.isclose(real % 1.0, 0.5, atol=1e-4) & (real < 0)
    np.testing.assert_array_equal(ours[~negative_tie], theirs[~negative_tie])
    step = ours[negative_tie].astype(int) - theirs[negative_tie]
    assert set(np.unique(step)) <= {0, 1}


@pytest.mark.parametrize(("kind", "operator"), [("avg", "AVERAGE_POOL_2D"), ("max", "MAX_POOL_2D")])
@pytest.mark.parametrize(
    ("size", "kernel", "stride"), [((7, 7), (7, 7), (7, 7)), ((1, 16), (1, 16), (1, 16)),
                                   ((8, 9), (2, 3), (2, 2)), ((5, 5), (3, 3), (1, 1))]
)  # fmt: skip
def test_pools_equal(kind, operator, size, kernel, stride):
    rng = np.random.default_rng(7)
    x = rng.integers(-128, 128, (20, *size, 12)).astype(np.int8)
    sides = ((whole - k) // s + 1 for whole, k, s in zip(size, kernel, stride, strict=True))
    output = Int8Tensor((12, *sides), 0.1, -5)
    ours = pool.run(IntegerPool("layer", "input", kind, kernel, stride), [x], [], output)
    model = Writer()
    entry = model.tensor((1, *x.shape[1:]), 0.1, -5)
    y = model.tensor((1, *ours.shape[1:]), 0.1, -5)
    walked = {"Padding": VALID, "StrideH": stride[0], "StrideW": stride[1]}
    windows = {"FilterHeight": kernel[0], "FilterWidth": kernel[1]}
    model.operator(operator, [entry], y, version=2, **walked, **windows)
    theirs = run_micro(model.model([entry], [y]), x)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("size", "larger"), [((4, 5), (8, 10)), ((1, 8), (1, 32)), ((3, 7), (10, 17)), ((1, 1), (4, 6))]
)
def test_upsampling_equals_where_float_ratios_are_exact_enough(size, larger):
    x = np.random.default_rng(7).integers(-128, 128, (3, *size, 6)).astype(np.int8)
    output = Int8Tensor((6, *larger), 0.1, -5)
    ours = upsample.run(IntegerUpsample("layer", "input"), [x], [], output)
    model = Writer()
    entry = model.tensor((1, *x.shape[1:]), 0.1, -5)
    wanted = model.tensor((2,), data=np.array(larger, np.int32), kind="INT32")
    y = model.tensor((1, *ours.shape[1:]), 0.1, -5)
    model.operator("RESIZE_NEAREST_NEIGHBOR", [entry, wanted], y, version=2)
    np.testing.assert_array_equal(ours, run_micro(model.model([entry], [y]), x))


def test_one_rounding_is_the_nearest_integer():
    rng = np.random.default_rng(3)
    accumulator = rng.integers(-(2**26), 2**26, 100_000)
    multiplier = int(fixed_point(0.00137))
    exact = accumulator * (multiplier / 2**31)
    assert np.abs(requantize(accumulator, multiplier) - exact).max() <= 0.5
