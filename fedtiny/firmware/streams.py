"""Weight streams of the sparse kernels: int8 matrices to flash bytes and back.

A layer's weights are a matrix int8 ``(channels, weights)``: one row for each output channel,
its weights in OHWI order (``weight.transpose(0, 2, 3, 1).reshape(channels, -1)`` of an OIHW
tensor; a depthwise layer's rows are its taps). The formats are documented at the
decoders in ``runtime/include/fedtiny_nn.h``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import FedTinyError

Weights = NDArray[np.int8]
"""int8 (channels, weights)."""

MAX_WEIGHTS = 65535
"""Most weights of one output channel: counts are stored in 16 bits."""

ENTRY_COUNT_BYTES = 2
"""Flash for the number of entries of one output channel."""

_D8_REACH = 255
_N4_SKIP = 15
_PLANAR_LANE = 1 << 23


class StreamError(FedTinyError):
    """Weights that no stream can hold, or a stream that is corrupt."""


class WeightFormat(IntEnum):
    """How weights are stored: each has its decoders, ``fedtiny_decode_d8`` and its like."""

    D8 = 0
    N4 = 1
    BITMAP = 2
    DENSE = 3


@dataclass(frozen=True, slots=True)
class WeightStreams:
    """What ``fedtiny_sparse_weights`` points to.

    Attributes:
        format: of the stream.
        entries: uint16 (channels,), what the format counts for each channel.
        max_nonzeros: most non-zero weights in one channel.
        stream: the channels' streams, one after the other.
    """

    format: WeightFormat
    entries: NDArray[np.uint16]
    max_nonzeros: int
    stream: bytes

    @property
    def flash_bytes(self) -> int:
        """Flash for the stream and the counts."""
        return len(self.stream) + ENTRY_COUNT_BYTES * len(self.entries)


def weight_streams(weights: Weights, weight_format: WeightFormat) -> WeightStreams:
    """Pack a weight matrix.

    Args:
        weights: int8 (channels, weights), at most :data:`MAX_WEIGHTS` columns.
        weight_format: of the stream.

    Raises:
        StreamError: the matrix has the wrong dtype, rank or width.

    >>> streams = weight_streams(np.array([[0, 0, 5, 0, -1]], np.int8), WeightFormat.D8)
    >>> list(streams.stream), streams.entries.tolist()
    ([2, 5, 2, 255], [2])
    """
    _check(weights)
    rows = [_ENCODERS[weight_format](row) for row in weights]
    nonzeros = np.count_nonzero(weights, axis=1)
    return WeightStreams(
        format=weight_format,
        entries=np.array([count for count, _ in rows], np.uint16),
        max_nonzeros=int(nonzeros.max()),
        stream=b"".join(stream for _, stream in rows),
    )


def weights_of(streams: WeightStreams, weights: int) -> Weights:
    """The weight matrix of a stream, ``weights`` columns wide.

    Raises:
        StreamError: the stream ends early, is too long or leaves a row.

    >>> matrix = np.array([[0, 3, 0], [0, 0, 0]], np.int8)
    >>> all(np.array_equal(weights_of(weight_streams(matrix, f), 3), matrix) for f in WeightFormat)
    True
    """
    matrix = np.zeros((len(streams.entries), weights), np.int8)
    stream = np.frombuffer(streams.stream, np.uint8)
    position = 0
    try:
        for row, count in zip(matrix, streams.entries.tolist(), strict=True):
            position += _DECODERS[streams.format](stream[position:], count, row)
    except (IndexError, ValueError) as error:
        raise StreamError(f"the {streams.format.name} stream is corrupt: {error}") from error
    if position != len(stream):
        raise StreamError(
            f"the {streams.format.name} stream is corrupt: {len(stream) - position} bytes left over"
        )
    return matrix


def sizes(weights: Weights) -> dict[WeightFormat, int]:
    """Flash bytes of the matrix in each format, counts included.

    >>> sizes(np.eye(2, 64, dtype=np.int8))[WeightFormat.D8]
    8
    """
    return {choice: weight_streams(weights, choice).flash_bytes for choice in WeightFormat}


def best_format(weights: Weights) -> WeightFormat:
    """The format with the least flash; of equal ones the first, which decodes fastest.

    >>> best_format(np.ones((4, 9), np.int8)).name
    'DENSE'
    """
    by_size = sizes(weights)
    return min(WeightFormat, key=lambda choice: (by_size[choice], choice))


def planar_is_exact(weights: Weights, bias: NDArray[np.int32]) -> bool:
    """Whether the planar kernel computes every channel exactly.

    Its low lane has 24 bits: ``255 · max(Σ w⁺, Σ |w⁻|) + |bias| < 2^23`` for each channel.

    Args:
        weights: int8 (channels, weights).
        bias: int32 (channels,), as passed to the kernel.

    >>> weights = np.full((1, 300), 127, np.int8)
    >>> planar_is_exact(weights[:, :259], np.zeros(1, np.int32))
    True
    >>> planar_is_exact(weights[:, :260], np.zeros(1, np.int32))
    False
    """
    wide = weights.astype(np.int64)
    positive = np.where(wide > 0, wide, 0).sum(axis=1)
    negative = np.where(wide < 0, -wide, 0).sum(axis=1)
    largest = 255 * np.maximum(positive, negative) + np.abs(bias.astype(np.int64))
    return bool(np.all(largest < _PLANAR_LANE))


def _check(weights: Weights) -> None:
    if weights.dtype != np.int8 or weights.ndim != 2 or weights.size == 0:
        raise StreamError(
            "weights must be int8 (channels, weights) and not empty, "
            f"not {weights.dtype} {weights.shape}"
        )
    if weights.shape[1] > MAX_WEIGHTS:
        raise StreamError(
            f"{weights.shape[1]} weights for each output channel are too many for the 16-bit "
            f"counts (limit {MAX_WEIGHTS}); make the layer narrower"
        )


def _gaps(row: Weights) -> tuple[NDArray[np.int64], Weights]:
    """Number of zeros before each non-zero weight, and those weights."""
    indices = np.flatnonzero(row)
    return np.diff(indices, prepend=-1) - 1, row[indices]


def _encode_d8(row: Weights) -> tuple[int, bytes]:
    gaps, values = _gaps(row)
    distances = gaps + 1
    distances[:1] -= 1  # the first one counts from index 0
    bridges = np.maximum(distances - 1, 0) // _D8_REACH
    pairs = np.zeros((int(len(values) + bridges.sum()), 2), np.uint8)
    pairs[:, 0] = _D8_REACH
    last = np.cumsum(bridges + 1) - 1
    pairs[last, 0] = distances - _D8_REACH * bridges
    pairs[last, 1] = values.view(np.uint8)
    return len(pairs), pairs.tobytes()


def _encode_n4(row: Weights) -> tuple[int, bytes]:
    gaps, values = _gaps(row)
    skips = gaps // _N4_SKIP
    nibbles = np.full(int(len(values) + skips.sum()), _N4_SKIP, np.uint8)
    nibbles[np.cumsum(skips + 1) - 1] = gaps % _N4_SKIP
    padded = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
    packed = (padded[0::2] | (padded[1::2] << 4)).astype(np.uint8)
    return len(nibbles), packed.tobytes() + values.tobytes()


def _encode_bitmap(row: Weights) -> tuple[int, bytes]:
    values = row[row != 0]
    return len(values), np.packbits(row != 0, bitorder="little").tobytes() + values.tobytes()


def _encode_dense(row: Weights) -> tuple[int, bytes]:
    return int(np.count_nonzero(row)), row.tobytes()


def _decode_d8(stream: NDArray[np.uint8], count: int, row: Weights) -> int:
    pairs = stream[: 2 * count].reshape(count, 2)
    stored = pairs[:, 1] != 0
    row[np.cumsum(pairs[:, 0], dtype=np.int64)[stored]] = pairs[stored, 1].view(np.int8)
    return 2 * count


def _decode_n4(stream: NDArray[np.uint8], count: int, row: Weights) -> int:
    gap_bytes = (count + 1) // 2
    packed = stream[:gap_bytes]
    nibbles = np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[:count]
    stored = nibbles != _N4_SKIP
    ends = np.cumsum(nibbles.astype(np.int64) + stored)
    values = stream[gap_bytes : gap_bytes + int(stored.sum())]
    row[ends[stored] - 1] = values.view(np.int8)
    return gap_bytes + len(values)


def _decode_bitmap(stream: NDArray[np.uint8], count: int, row: Weights) -> int:
    map_bytes = (len(row) + 7) // 8
    set_bits = np.unpackbits(stream[:map_bytes], count=len(row), bitorder="little").astype(bool)
    row[set_bits] = stream[map_bytes : map_bytes + count].view(np.int8)
    return map_bytes + count


def _decode_dense(stream: NDArray[np.uint8], count: int, row: Weights) -> int:
    row[:] = stream[: len(row)].view(np.int8)
    return len(row)


_ENCODERS: dict[WeightFormat, Callable[[Weights], tuple[int, bytes]]] = {
    WeightFormat.D8: _encode_d8,
    WeightFormat.N4: _encode_n4,
    WeightFormat.BITMAP: _encode_bitmap,
    WeightFormat.DENSE: _encode_dense,
}
"""Each returns the number of entries and the stream of one row."""

_DECODERS: dict[WeightFormat, Callable[[NDArray[np.uint8], int, Weights], int]] = {
    WeightFormat.D8: _decode_d8,
    WeightFormat.N4: _decode_n4,
    WeightFormat.BITMAP: _decode_bitmap,
    WeightFormat.DENSE: _decode_dense,
}
"""Each fills one row, which is zero before, and returns the bytes read."""
