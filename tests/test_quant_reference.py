"""The integer reference against plain integer loops, exact fractions and float formulas."""

from fractions import Fraction
from math import floor

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.data.statistics import Normalization
from fedtiny.quant import reference
from fedtiny.quant.integer_model import InputQuantization, IntegerGraph
from fedtiny.quant.ops import conv, pool
from fedtiny.quant.ops.conv import IntegerConv
from fedtiny.quant.ops.pool import IntegerPool
from fedtiny.quant.ptq import input_quantization
from fedtiny.quant.requantize import fixed_point, requantize
from fedtiny.quant.tensors import Int8Tensor, IntegerWeight, QuantizationError

INT32 = st.integers(-(2**31), 2**31 - 1)


@given(INT32, st.integers(0, 2**31 - 1))
def test_requantize_rounds_the_exact_product_half_up(accumulator, multiplier):
    exact = Fraction(accumulator * multiplier, 2**31)
    assert requantize(np.array([accumulator]), multiplier)[0] == floor(exact + Fraction(1, 2))


@given(st.floats(0, 0.5, exclude_max=True))
def test_fixed_point_is_within_half_a_step_and_below_the_limit(scale):
    multiplier = int(fixed_point(scale))
    assert abs(multiplier - scale * 2**31) <= 1
    assert multiplier < 2**30


@pytest.mark.parametrize("scale", [0.5, 1.0, -0.1, float("nan")])
def test_fixed_point_refuses_what_it_cannot_hold(scale):
    with pytest.raises(QuantizationError, match="must lie in"):
        fixed_point(scale)


def make_conv(rng, out, inner, kernel, stride, padding, groups, density):
    shape = (out, *kernel, inner // groups)
    values = (rng.integers(-127, 128, shape) * (rng.random(shape) < density)).astype(np.int8)
    indices = np.flatnonzero(values).astype(np.int32)
    weight = IntegerWeight(shape, indices, values.ravel()[indices])
    bias = rng.integers(-(2**20), 2**20, out).astype(np.int32)
    multiplier = fixed_point(rng.uniform(0.0001, 0.01, out))
    return IntegerConv(
        "conv", "input", weight, bias, multiplier, stride, padding, groups, (-128, 127)
    )


def loop_conv(node, x, source, output):
    """One output at a time, in Python integers."""
    weight = node.weight.to_dense().astype(int)
    per_input = node.weight.shape[0] // x.shape[-1]
    result = np.zeros((len(x), *output.shape[1:], output.shape[0]), np.int8)
    for n, oy, ox, o in np.ndindex(*result.shape):
        total = int(node.bias[o])
        for ky, kx, i in np.ndindex(*weight.shape[1:]):
            y = oy * node.stride[0] - node.padding[0] + ky
            z = ox * node.stride[1] - node.padding[1] + kx
            if 0 <= y < x.shape[1] and 0 <= z < x.shape[2]:
                channel = i if node.groups == 1 else o // per_input
                total += int(weight[o, ky, kx, i]) * (int(x[n, y, z, channel]) - source.zero_point)
        code = floor(Fraction(total * int(node.multiplier[o]), 2**31) + Fraction(1, 2))
        result[n, oy, ox, o] = min(127, max(-128, code + output.zero_point))
    return result


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_convolution_equals_integer_loops(data):
    draw = data.draw
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 2)), draw(st.integers(1, 3)))
    padding = (draw(st.integers(0, 1)), draw(st.integers(0, 2)))
    after = (draw(st.integers(0, 1)), draw(st.integers(0, 2)))
    height, width = draw(st.integers(3, 5)), draw(st.integers(3, 6))
    inner = draw(st.integers(1, 3))
    groups = draw(st.sampled_from([1, inner]))
    out = inner * draw(st.integers(1, 2)) if groups > 1 else draw(st.integers(1, 3))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    node = make_conv(rng, out, inner, kernel, stride, padding, groups, draw(st.floats(0, 1)))
    shape = (
        out,
        (height + padding[0] + after[0] - kernel[0]) // stride[0] + 1,
        (width + padding[1] + after[1] - kernel[1]) // stride[1] + 1,
    )
    source = Int8Tensor((inner, height, width), 0.1, int(rng.integers(-128, 128)))
    output = Int8Tensor(shape, 0.1, int(rng.integers(-128, 128)))
    x = rng.integers(-128, 128, (2, height, width, inner)).astype(np.int8)
    np.testing.assert_array_equal(
        conv.run(node, [x], [source], output), loop_conv(node, x, source, output)
    )


def test_accumulators_beyond_float32_are_exact():
    """4000 weights of 127 reach 1.3e8: float32 would round, the float64 path must be taken."""
    out, inner = 1, 4000
    weight = IntegerWeight(
        (out, 1, 1, inner), np.arange(inner, dtype=np.int32), np.full(inner, 127, np.int8)
    )
    bias = np.array([1], np.int32)
    assert weight.accumulator_bound(bias) == 255 * 127 * inner + 1
    multiplier = fixed_point([2.0**-20])
    node = IntegerConv("c", "input", weight, bias, multiplier, (1, 1), (0, 0), 1, (-128, 127))
    x = np.full((1, 1, 1, inner), 127, np.int8)
    source, output = Int8Tensor((inner, 1, 1), 1.0, -128), Int8Tensor((1, 1, 1), 1.0, 0)
    total = 255 * 127 * inner + 1
    expected = floor(Fraction(total, 2**20) + Fraction(1, 2))
    assert expected < 128
    assert conv.run(node, [x], [source], output).item() == expected


def test_average_rounds_halves_away_from_zero():
    x = np.array([[1, 2], [-1, -2], [3, 4]], np.int8).reshape(3, 1, 2, 1)
    node = IntegerPool("pool", "input", "avg", (1, 2), (1, 2))
    output = Int8Tensor((1, 1, 1), 1.0, 0)
    assert pool.run(node, [x], [], output).ravel().tolist() == [2, -2, 4]


@given(st.integers(0, 2**32))
def test_counts_are_quantized_as_the_float_formula_says(seed):
    rng = np.random.default_rng(seed)
    channels = 3
    tensor = Int8Tensor((channels, 1, 50), float(np.float32(rng.uniform(0.01, 0.1))), 11)
    mean = rng.uniform(-2000, 2000, channels).astype(np.float32)
    std = rng.uniform(5, 4000, channels).astype(np.float32)
    normalization = Normalization(mean, std)
    model = IntegerGraph(
        "m", input_quantization(tensor, normalization), {"input": tensor}, (), "input"
    )
    spread = rng.normal(mean, std * 2, (4, 50, channels)).transpose(0, 2, 1)[:, :, None, :]
    counts = np.clip(np.rint(spread), -32768, 32767).astype(np.int16)
    codes = reference.quantize_input(model, counts)
    wide = (a.astype(np.float64)[:, None, None] for a in (mean, std))
    exact = (counts - next(wide)) / next(wide) / tensor.scale + tensor.zero_point
    expected = np.clip(exact, -128, 127).transpose(0, 2, 3, 1)
    # Half a code for rounding; 2^-10 for the multiplier's 24 fraction bits.
    assert np.abs(codes - expected).max() <= 0.5 + 2**-9


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(np.int32, (2, 3, 1, 50)), (np.int16, (2, 3, 50)), (np.int16, (2, 1, 1, 50))],
)
def test_wrong_counts_are_refused(dtype, shape):
    tensor = Int8Tensor((3, 1, 50), 0.1, 0)
    entry = InputQuantization(np.ones(3, np.int32), np.zeros(3, np.int64))
    model = IntegerGraph("m", entry, {"input": tensor}, (), "input")
    with pytest.raises(QuantizationError, match="int16"):
        reference.quantize_input(model, np.zeros(shape, dtype))
