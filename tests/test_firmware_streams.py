import numpy as np
import pytest
from builders import fitting
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.firmware.stream_formats import WeightFormat
from fedtiny.firmware.streams import (
    StreamError,
    best_format,
    sizes,
    weight_streams,
    weights_of,
)

formats = pytest.mark.parametrize("weight_format", list(WeightFormat))


@st.composite
def matrices(draw):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 900)))
    density = draw(st.sampled_from([0.0, 0.002, 0.05, 0.3, 1.0]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = rng.integers(-128, 128, shape)
    return np.where(rng.random(shape) < density, values, 0).astype(np.int8)


@formats
@given(matrix=matrices())
def test_decoding_inverts_encoding(matrix, weight_format):
    matrix = fitting(matrix, weight_format)
    streams = weight_streams(matrix, weight_format)
    np.testing.assert_array_equal(weights_of(streams, matrix.shape[1]), matrix)
    assert streams.max_nonzeros == np.count_nonzero(matrix, axis=1).max()


@given(matrix=matrices())
def test_best_format_is_smallest(matrix):
    by_size = sizes(matrix)
    assert by_size[best_format(matrix)] == min(by_size.values())
    assert by_size[WeightFormat.DENSE] == matrix.size + 2 * len(matrix)


# Positions of the weights in a row of 600, and the stream by hand.
HAND_PACKED = {
    WeightFormat.D8: (2, {0: 7, 600 - 1: -1}, [0, 7, 255, 0, 255, 0, 89, 255], 4),
    WeightFormat.N4: (2, {1: 7, 19: -1}, [0x1 | 0xF << 4, 0x2, 7, 255], 3),
    WeightFormat.BITMAP: (2, {0: 7, 9: -1}, [1, 2, *[0] * 73, 7, 255], 2),
    WeightFormat.D4: (3, {0: 7, 300: -8, 301: 1}, [0, 255, 45, 1, 0x07, 0x18], 4),
    WeightFormat.P4: (
        3,
        {0: 7, 17: -8, 599: 1},  # 16 zeros between; then 581 = 2 · 256 + 16 · 4 + 5
        [0x70, 0x00, 0x80, 0x0F, 0x0F, 0x03, 0x15],
        7,
    ),
}


@pytest.mark.parametrize("weight_format", HAND_PACKED)
def test_streams_are_as_documented(weight_format):
    nonzeros, weights, stream, entries = HAND_PACKED[weight_format]
    row = np.zeros((1, 600), np.int8)
    for position, value in weights.items():
        row[0, position] = value
    streams = weight_streams(row, weight_format)
    assert list(streams.stream) == stream
    assert (streams.entries.tolist(), streams.max_nonzeros) == ([entries], nonzeros)


def test_format_follows_density():
    """D8 for few weights, N4 around 10 %, a bitmap for many, all of them for nearly all.

    Of weights with 4 bits D4 for few, P4 for more.
    """
    rng = np.random.default_rng(0)

    def best(density, value):
        return best_format(((rng.random((64, 1152)) < density) * value).astype(np.int8))

    assert [best(density, 8) for density in (0.01, 0.1, 0.4, 0.95)] == list(WeightFormat)[:4]
    assert [best(density, 7) for density in (0.01, 0.1)] == [WeightFormat.D4, WeightFormat.P4]


@pytest.mark.parametrize("value", [8, -9])
def test_wide_weights_are_refused_by_formats_of_4_bits(value):
    matrix = np.array([[0, value, 1]], np.int8)
    assert not {WeightFormat.D4, WeightFormat.P4} & sizes(matrix).keys()
    with pytest.raises(StreamError, match="quantize them to 4 bits"):
        weight_streams(matrix, WeightFormat.P4)


@formats
def test_streams_cut_short_or_too_long_are_refused(weight_format):
    rng = np.random.default_rng(1)
    matrix = np.where(rng.random((3, 100)) < 0.3, 5, 0).astype(np.int8)
    streams = weight_streams(matrix, weight_format)
    for stream in (streams.stream[:-1], streams.stream + b"\0"):
        damaged = type(streams)(weight_format, streams.entries, streams.max_nonzeros, stream)
        with pytest.raises(StreamError, match="corrupt"):
            weights_of(damaged, 100)


def test_matrices_no_kernel_takes_are_refused():
    with pytest.raises(StreamError, match="int8"):
        weight_streams(np.zeros((2, 3), np.float32), WeightFormat.D8)
    with pytest.raises(StreamError, match="make the layer narrower"):
        weight_streams(np.zeros((1, 65536), np.int8), WeightFormat.D8)
