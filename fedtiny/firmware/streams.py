"""Weight streams of the sparse kernels: int8 matrices to flash bytes and back.

A layer's weights are a matrix int8 ``(channels, weights)``: one row for each output channel,
its weights in OHWI order (``weight.transpose(0, 2, 3, 1).reshape(channels, -1)`` of an OIHW
tensor; a depthwise layer's rows are its taps). The formats are documented at the
decoders in ``runtime/include/fedtiny_nn.h``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.errors import FedTinyError
from fedtiny.firmware.stream_formats import (
    DECODERS,
    ENCODERS,
    NIBBLE_MAX,
    NIBBLE_MIN,
    WeightFormat,
    Weights,
)

MAX_WEIGHTS = 65535
"""Most weights of one output channel: counts are stored in 16 bits."""

ENTRY_COUNT_BYTES = 2
"""Flash for the number of entries of one output channel."""

_PLANAR_LANE = 1 << 23


class StreamError(FedTinyError):
    """Weights that no stream can hold, or a stream that is corrupt."""


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
        StreamError: the matrix has the wrong dtype, rank or width, or weights that the format
            cannot hold.

    >>> streams = weight_streams(np.array([[0, 0, 5, 0, -1]], np.int8), WeightFormat.D8)
    >>> list(streams.stream), streams.entries.tolist()
    ([2, 5, 2, 255], [2])
    """
    _check(weights)
    if not holds(weight_format, weights):
        raise StreamError(
            f"{weight_format.name} holds weights of 4 bits, in [{NIBBLE_MIN}, {NIBBLE_MAX}], and "
            f"these reach from {weights.min()} to {weights.max()}; quantize them to 4 bits"
        )
    rows = [ENCODERS[weight_format](row) for row in weights]
    nonzeros = np.count_nonzero(weights, axis=1)
    return WeightStreams(
        format=weight_format,
        entries=np.array([count for count, _ in rows], np.uint16),
        max_nonzeros=int(nonzeros.max()),
        stream=b"".join(stream for _, stream in rows),
    )


def holds(weight_format: WeightFormat, weights: Weights) -> bool:
    """Whether the format can store these values.

    >>> holds(WeightFormat.P4, np.array([[8]], np.int8)), holds(WeightFormat.D8, np.array([[8]]))
    (False, True)
    """
    if not weight_format.has_nibbles:
        return True
    return bool(weights.min() >= NIBBLE_MIN and weights.max() <= NIBBLE_MAX)


def formats_for(weights: Weights) -> list[WeightFormat]:
    """The formats that can store these values, in order."""
    return [choice for choice in WeightFormat if holds(choice, weights)]


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
            position += DECODERS[streams.format](stream[position:], count, row)
    except (IndexError, ValueError) as error:
        raise StreamError(f"the {streams.format.name} stream is corrupt: {error}") from error
    if position != len(stream):
        raise StreamError(
            f"the {streams.format.name} stream is corrupt: {len(stream) - position} bytes left over"
        )
    return matrix


def sizes(weights: Weights) -> dict[WeightFormat, int]:
    """Flash bytes of the matrix in each format that holds it, counts included.

    >>> sizes(np.eye(2, 64, dtype=np.int8))[WeightFormat.D8]
    8
    """
    return {choice: weight_streams(weights, choice).flash_bytes for choice in formats_for(weights)}


def best_format(weights: Weights) -> WeightFormat:
    """The format with the least flash; of equal ones the first.

    >>> best_format(np.ones((4, 9), np.int8)).name
    'DENSE'
    """
    by_size = sizes(weights)
    return min(by_size, key=lambda choice: (by_size[choice], choice))


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
