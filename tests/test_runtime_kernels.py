"""The C kernels on this host against a numpy reference that shares nothing with them."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from builders import fitting
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedtiny.boards.native.kernels import Kernels
from fedtiny.boards.native.library import compile_runtime
from fedtiny.boards.native.types import KernelError, Rescale, Window
from fedtiny.firmware import workspace
from fedtiny.firmware.stream_formats import WeightFormat
from fedtiny.firmware.streams import planar_is_exact, weight_streams

SETTINGS = settings(
    max_examples=120,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    return Kernels(compile_runtime(tmp_path_factory.mktemp("runtime")))


# ---- reference ------------------------------------------------------------------------------


def requantize(accumulator, multiplier, shift):
    """TensorFlow Lite's two roundings: a doubling high multiplication, then a division."""
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    raised = (accumulator.astype(np.int64) << left).astype(np.int32).astype(np.int64)
    high = (raised * multiplier.astype(np.int64) + 2**30) >> 31
    # Halves away from zero, in exact arithmetic: (2·|high| + 2^right) // 2^(right + 1).
    rounded = (2 * np.abs(high) + (1 << right)) >> (right + 1)
    return np.where(right == 0, high, np.sign(high) * rounded)


def finish(accumulator, rescale):
    shift = np.zeros(1, np.int64) if rescale.shift is None else rescale.shift.astype(np.int64)
    scaled = requantize(accumulator, rescale.multiplier, shift) + rescale.output_offset
    return np.clip(scaled, *rescale.clamp).astype(np.int8)


def patches_of(x, window, fill):
    """(OH, OW, KH, KW, C) of a map (H, W, C) padded with ``fill``."""
    stride_h, stride_w = window.stride
    pads = zip(window.padding, window.after or window.padding, strict=True)
    padded = np.pad(x.astype(np.int64), (*pads, (0, 0)), constant_values=fill)
    span = [(k - 1) * d + 1 for k, d in zip(window.kernel, window.dilation, strict=True)]
    views = np.lib.stride_tricks.sliding_window_view(padded, span, axis=(0, 1))
    dilated = views[::stride_h, ::stride_w, :, :: window.dilation[0], :: window.dilation[1]]
    return dilated.transpose(0, 1, 3, 4, 2)


def conv_reference(x, weights, bias, window, rescale):
    patches = patches_of(x, window, -rescale.input_offset) + rescale.input_offset
    accumulator = np.einsum("yxhwc,ohwc->yxo", patches, weights.astype(np.int64))
    return finish(accumulator + (0 if bias is None else bias), rescale)


def depthwise_reference(x, weights, bias, window, rescale):
    """``weights`` is (O, KH, KW)."""
    patches = patches_of(x, window, -rescale.input_offset) + rescale.input_offset
    repeated = np.repeat(patches, len(weights) // x.shape[2], axis=-1)
    accumulator = np.einsum("yxhwo,ohw->yxo", repeated, weights.astype(np.int64))
    return finish(accumulator + (0 if bias is None else bias), rescale)


# ---- cases ----------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Case:
    x: np.ndarray
    weights: np.ndarray  # (O, KH, KW, I)
    bias: np.ndarray | None
    window: Window
    rescale: Rescale

    @property
    def rows(self):
        return self.weights.reshape(len(self.weights), -1)


def random_weights(rng, shape, density):
    values = rng.integers(1, 128, shape) * rng.choice([-1, 1], shape)
    return np.where(rng.random(shape) < density, values, 0).astype(np.int8)


def random_rescale(rng, accumulator_scale, channels, *, shifted, clamp=(-128, 127)):
    """Multipliers that spread accumulators of the given size over the int8 range."""
    scale = rng.uniform(20, 90, channels) / max(accumulator_scale, 200.0)
    offsets = int(rng.integers(-127, 129)), int(rng.integers(-128, 128))
    if not shifted:
        multiplier = np.rint(scale * 2**31).astype(np.int32)
        shift = None if rng.random() < 0.5 else np.zeros(channels, np.int32)
        return Rescale(multiplier, shift, *offsets, clamp)
    fraction, exponent = np.frexp(scale)
    multiplier = np.minimum(np.rint(fraction * 2**31), 2**31 - 1).astype(np.int32)
    shift = exponent.astype(np.int32)
    raised = rng.random() < 0.3  # also shifts to the left, by multipliers made small
    return Rescale(
        multiplier >> 12 if raised else multiplier,
        shift + 12 if raised else shift,
        *offsets,
        clamp,
    )


@st.composite
def cases(draw, *, depthwise=False):
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (1, 5), (2, 3), (5, 5), (3, 1)]))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pads = st.tuples(st.integers(0, kernel[0] - 1), st.integers(0, kernel[1] - 1))
    padding = draw(pads)
    after = draw(st.just(padding) | pads)
    height = draw(st.integers(max(1, kernel[0] - padding[0] - after[0]), 11))
    width = max(draw(st.integers(1, 19)), kernel[1] - padding[1] - after[1])
    channels, outputs = draw(st.integers(1, 9)), draw(st.integers(1, 6))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    density = draw(st.sampled_from([0.0, 0.02, 0.2, 0.6, 1.0]))
    per_filter = channels
    if depthwise:
        outputs, per_filter = channels * draw(st.integers(1, 4)), 1
    weights = random_weights(rng, (outputs, *kernel, per_filter), density)
    clamp = draw(st.sampled_from([(-128, 127), (-128, 127), (-10, 127), (-128, 60)]))
    bias = rng.integers(-3000, 3000, outputs).astype(np.int32) if draw(st.booleans()) else None
    spread = 80.0 * np.sqrt(max(np.square(weights.astype(float)).sum() / outputs, 1.0))
    return Case(
        x=rng.integers(-128, 128, (height, width, channels)).astype(np.int8),
        weights=weights,
        bias=bias,
        window=Window(kernel, stride, padding, after=after),
        rescale=random_rescale(rng, spread, outputs, shifted=draw(st.booleans()), clamp=clamp),
    )


formats = st.sampled_from(list(WeightFormat))


# ---- sparse ---------------------------------------------------------------------------------


@SETTINGS
@given(case=cases(), weight_format=formats, band_rows=st.integers(0, 4))
def test_sparse_conv_equals_the_reference(kernels, case, weight_format, band_rows):
    case = replace(case, weights=fitting(case.weights, weight_format))
    streams = weight_streams(case.rows, weight_format)
    size = kernels.buffer_size(
        "fedtiny_sparse_conv_s8", case.x.shape, streams, case.window, band_rows
    )
    found = kernels.sparse_conv(
        case.x, streams, case.bias, case.window, case.rescale, scratch_bytes=size
    )
    expected = conv_reference(case.x, case.weights, case.bias, case.window, case.rescale)
    np.testing.assert_array_equal(found, expected)


@settings(SETTINGS, max_examples=250)
@given(case=cases(), weight_format=formats, band_rows=st.integers(0, 4))
def test_planar_conv_equals_the_reference(kernels, case, weight_format, band_rows):
    bias = np.zeros(1, np.int32) if case.bias is None else case.bias
    case = replace(case, weights=fitting(case.weights, weight_format))
    assert planar_is_exact(case.rows, bias)
    streams = weight_streams(case.rows, weight_format)
    size = kernels.buffer_size(
        "fedtiny_sparse_conv_planar_s8", case.x.shape, streams, case.window, band_rows
    )
    found = kernels.sparse_conv(
        case.x, streams, case.bias, case.window, case.rescale, planar=True, scratch_bytes=size
    )
    expected = conv_reference(case.x, case.weights, case.bias, case.window, case.rescale)
    np.testing.assert_array_equal(found, expected)


@SETTINGS
@given(case=cases(depthwise=True), weight_format=formats, band_rows=st.integers(0, 4))
def test_sparse_depthwise_equals_the_reference(kernels, case, weight_format, band_rows):
    case = replace(case, weights=fitting(case.weights, weight_format))
    streams = weight_streams(case.rows, weight_format)
    size = kernels.buffer_size(
        "fedtiny_sparse_depthwise_conv_s8", case.x.shape, streams, case.window, band_rows
    )
    found = kernels.sparse_depthwise(
        case.x, streams, case.bias, case.window, case.rescale, scratch_bytes=size
    )
    weights = case.weights[..., 0]
    expected = depthwise_reference(case.x, weights, case.bias, case.window, case.rescale)
    np.testing.assert_array_equal(found, expected)


@SETTINGS
@given(
    features=st.integers(1, 700),
    outputs=st.integers(1, 6),
    samples=st.integers(1, 3),
    density=st.sampled_from([0.0, 0.003, 0.05, 0.5, 1.0]),
    seed=st.integers(0, 2**32 - 1),
    weight_format=formats,
)
def test_sparse_linear_equals_the_reference(
    kernels, features, outputs, samples, density, seed, weight_format
):
    rng = np.random.default_rng(seed)
    x = rng.integers(-128, 128, (samples, features)).astype(np.int8)
    weights = fitting(random_weights(rng, (outputs, features), density), weight_format)
    bias = rng.integers(-3000, 3000, outputs).astype(np.int32)
    rescale = random_rescale(rng, 9000 * np.sqrt(features * density), outputs, shifted=False)
    accumulator = (x.astype(np.int64) + rescale.input_offset) @ weights.T.astype(np.int64) + bias
    found = kernels.sparse_linear(x, weight_streams(weights, weight_format), bias, rescale)
    np.testing.assert_array_equal(found, finish(accumulator, rescale))


def test_planar_guard_is_tight(kernels):
    """Extreme inputs at the largest accepted weights are exact; more wrap around."""
    rescale = Rescale(np.array([2**22], np.int32), None, input_offset=128)
    x = np.full((1, 8, 700), 127, np.int8)
    window = Window((1, 1))
    for nonzeros, exact in ((259, True), (300, False)):
        rows = np.zeros((1, 700), np.int8)
        rows[0, :nonzeros] = 127
        assert planar_is_exact(rows, np.zeros(1, np.int32)) == exact
        streams = weight_streams(rows, WeightFormat.D8)
        found = kernels.sparse_conv(x, streams, None, window, rescale, planar=True)
        expected = conv_reference(x, rows.reshape(1, 1, 1, -1), None, window, rescale)
        assert np.array_equal(found, expected) == exact


# ---- scratch --------------------------------------------------------------------------------


@SETTINGS
@given(case=cases(), band_rows=st.integers(0, 12))
def test_scratch_sizes_in_python_are_those_of_c(kernels, case, band_rows):
    streams = weight_streams(case.rows, WeightFormat.D8)
    output = conv_reference(case.x, case.weights, None, case.window, case.rescale).shape
    shape = workspace.ConvShape(
        input=case.x.shape,
        output=output,
        kernel=case.window.kernel,
        stride=case.window.stride,
        padding=case.window.padding,
        max_nonzeros=streams.max_nonzeros,
    )
    arguments = (case.x.shape, streams, case.window, band_rows)
    direct = kernels.buffer_size("fedtiny_sparse_conv_s8", *arguments)
    planar = kernels.buffer_size("fedtiny_sparse_conv_planar_s8", *arguments)
    assert workspace.direct_bytes(shape, band_rows) == direct
    assert workspace.planar_bytes(shape, band_rows) == planar


@pytest.mark.parametrize("planar", [False, True])
def test_less_scratch_than_one_row_needs_is_refused(kernels, planar):
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (6, 9, 5)).astype(np.int8)
    streams = weight_streams(random_weights(rng, (4, 45), 0.3), WeightFormat.D8)
    window = Window((3, 3), padding=(1, 1))
    rescale = random_rescale(rng, 9000.0, 4, shifted=False)
    name = "fedtiny_sparse_conv_planar_s8" if planar else "fedtiny_sparse_conv_s8"
    size = kernels.buffer_size(name, x.shape, streams, window, 1)
    with pytest.raises(KernelError, match="returned -1"):
        kernels.sparse_conv(
            x, streams, None, window, rescale, planar=planar, scratch_bytes=size - 8
        )


# ---- dense ----------------------------------------------------------------------------------


@SETTINGS
@given(case=cases(), dilation=st.tuples(st.integers(1, 2), st.integers(1, 2)))
def test_portable_conv_equals_the_reference(kernels, case, dilation):
    window = Window(case.window.kernel, case.window.stride, case.window.padding, dilation)
    span = [(k - 1) * d + 1 for k, d in zip(window.kernel, dilation, strict=True)]
    if any(s > n + 2 * p for s, n, p in zip(span, case.x.shape[:2], window.padding, strict=True)):
        window = case.window
    found = kernels.conv(case.x, case.weights, case.bias, window, with_shift(case.rescale))
    expected = conv_reference(case.x, case.weights, case.bias, window, case.rescale)
    np.testing.assert_array_equal(found, expected)


@SETTINGS
@given(case=cases(depthwise=True))
def test_portable_depthwise_equals_the_reference(kernels, case):
    dense = np.ascontiguousarray(case.weights.transpose(3, 1, 2, 0))
    found = kernels.depthwise(case.x, dense, case.bias, case.window, with_shift(case.rescale))
    weights = case.weights[..., 0]
    expected = depthwise_reference(case.x, weights, case.bias, case.window, case.rescale)
    np.testing.assert_array_equal(found, expected)


def with_shift(rescale):
    """Dense kernels need the array of shifts."""
    shift = np.zeros_like(rescale.multiplier) if rescale.shift is None else rescale.shift
    return Rescale(
        rescale.multiplier, shift, rescale.input_offset, rescale.output_offset, rescale.clamp
    )


@pytest.mark.parametrize("shifted", [False, True])
def test_portable_linear_equals_the_reference(kernels, shifted):
    rng = np.random.default_rng(1)
    x = rng.integers(-128, 128, (3, 65)).astype(np.int8)
    weights = random_weights(rng, (7, 65), 1.0)
    bias = rng.integers(-3000, 3000, 7).astype(np.int32)
    rescale = random_rescale(rng, 40000.0, 1, shifted=shifted)
    accumulator = (x.astype(np.int64) + rescale.input_offset) @ weights.T.astype(np.int64) + bias
    found = kernels.linear(x, weights, bias, rescale)
    np.testing.assert_array_equal(found, finish(accumulator, rescale))


@SETTINGS
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5)),
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padded=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
def test_pooling_equals_the_reference(kernels, shape, kernel, stride, padded, seed):
    kernel = tuple(min(k, n) for k, n in zip(kernel, shape[:2], strict=True))
    window = Window(kernel, stride, tuple(k // 2 for k in kernel) if padded else (0, 0))
    x = np.random.default_rng(seed).integers(-128, 128, shape).astype(np.int8)
    inside = patches_of(np.ones_like(x), window, 0)
    values = patches_of(x, window, 0)
    count = inside.sum(axis=(2, 3))
    if np.any(count == 0):
        with pytest.raises(KernelError):
            kernels.average_pool(x, window, (-128, 127))
        return
    total = (values * inside).sum(axis=(2, 3))
    mean = np.sign(total) * ((np.abs(total) + count // 2) // count)
    found = kernels.average_pool(x, window, (-100, 90))
    np.testing.assert_array_equal(found, np.clip(mean, -100, 90))
    largest = np.where(inside == 1, values, -128).max(axis=(2, 3))
    np.testing.assert_array_equal(kernels.max_pool(x, window, (-128, 60)), np.minimum(largest, 60))


@SETTINGS
@given(
    ratios=st.tuples(st.floats(0.05, 8), st.floats(0.05, 8)),
    offsets=st.tuples(*[st.integers(-127, 128)] * 2),
    output_offset=st.integers(-128, 127),
)
def test_add_equals_the_reference(kernels, ratios, offsets, output_offset):
    """All 65 536 pairs of inputs, with the multipliers recommended to the exporter."""
    left, right = (
        np.ascontiguousarray(grid.astype(np.int8).ravel())
        for grid in np.meshgrid(np.arange(-128, 128), np.arange(-128, 128))
    )
    multipliers = tuple(round(ratio * 2**27) for ratio in ratios)
    found = kernels.add(
        (left, right), offsets, multipliers, 20, (output_offset, 2**15, 0), (-128, 120)
    )
    terms = [
        requantize((values.astype(np.int64) + offset) << 20, np.int64(m), np.int64(0))
        for values, offset, m in zip((left, right), offsets, multipliers, strict=True)
    ]
    exact = sum(
        (values.astype(np.float64) + offset) * ratio
        for values, offset, ratio in zip((left, right), offsets, ratios, strict=True)
    )
    expected = ((sum(terms) + 2**15) >> 16) + output_offset
    np.testing.assert_array_equal(found, np.clip(expected, -128, 120))
    off = np.abs(np.clip(exact + output_offset, -128, 120) - found)
    assert off.max() <= 0.5 + 1e-3


# ---- helpers of the generated model -------------------------------------------------------------


def test_quantize_rounds_halves_up_and_saturates(kernels):
    counts = np.array([[-3, 100], [-1, -100], [1, 32767], [3, -32768]], np.int16)
    multiplier = np.array([1 << 23, 1 << 24], np.int32)
    offset = np.array([0, 5 << 24], np.int64)
    expected = [[-1, 105], [0, -95], [1, 127], [2, -128]]
    assert kernels.quantize(counts, multiplier, offset, 24).tolist() == expected


@pytest.mark.parametrize("in_place", [False, True])
def test_lookup_takes_every_code_to_its_entry(kernels, in_place):
    rng = np.random.default_rng(0)
    table = rng.integers(-128, 128, 256).astype(np.int8)
    for size in (0, 1, 255, 259):
        x = rng.integers(-128, 128, size).astype(np.int8)
        found = kernels.lookup(x, table, in_place=in_place)
        np.testing.assert_array_equal(found, table[x.astype(int) + 128])


@SETTINGS
@given(
    shape=st.tuples(st.integers(1, 6), st.integers(1, 9), st.integers(1, 5)),
    more=st.tuples(st.integers(0, 15), st.integers(0, 20)),
    sequence=st.booleans(),
)
def test_upsampling_repeats_the_cell_that_division_says(kernels, shape, more, sequence):
    height, width, channels = (1, *shape[1:]) if sequence else shape
    x = np.random.default_rng(0).integers(-128, 128, (height, width, channels)).astype(np.int8)
    size = (1 if sequence else height + more[0], width + more[1])
    found = kernels.upsample(x, size)
    for row, column in np.ndindex(size):
        cell = x[row * height // size[0], column * width // size[1]]
        np.testing.assert_array_equal(found[row, column], cell)


@pytest.mark.parametrize(
    ("size", "channels"), [((2, 6), 5), ((4, 3), 5), ((3, 0), 5), ((3, 65536), 5), ((4, 8), 4)]
)
def test_upsampling_outside_its_ranges_is_refused(kernels, size, channels):
    with pytest.raises(KernelError, match="returned -1"):
        kernels.upsample(np.zeros((3, 4, 5), np.int8), size, channels)


def test_argmax_takes_the_first_of_equals(kernels):
    assert kernels.argmax(np.array([-5, 7, 7, -128], np.int8)) == 1
    assert kernels.argmax(np.array([-128], np.int8)) == 0


def test_crc32_has_the_published_check_value(kernels):
    assert kernels.crc32(b"123456789") == 0xCBF43926
    assert kernels.crc32(b"") == 0
