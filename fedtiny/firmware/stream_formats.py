"""How one output channel's weights become bytes and back, in each format of a weight stream.

The formats are documented at the decoders in ``runtime/include/fedtiny_nn.h``.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

Weights = NDArray[np.int8]
"""int8 (channels, weights), or one row of it."""

_D8_REACH = 255
_N4_SKIP = 15
_P4_GAP = 16
"""Zeros that a gap of P4 cannot say, and what one unit of a skip is."""
_P4_SKIP = 256

NIBBLE_MIN, NIBBLE_MAX = -8, 7


class WeightFormat(IntEnum):
    """How weights are stored: each has its decoders, ``fedtiny_decode_d8`` and its like.

    D4 and P4 hold weights of 4 bits only, in [-8, 7].
    """

    D8 = 0
    N4 = 1
    BITMAP = 2
    DENSE = 3
    D4 = 4
    P4 = 5

    @property
    def has_nibbles(self) -> bool:
        """Whether its weights have 4 bits."""
        return self in (WeightFormat.D4, WeightFormat.P4)


def _gaps(row: Weights) -> tuple[NDArray[np.int64], Weights]:
    """Number of zeros before each non-zero weight, and those weights."""
    indices = np.flatnonzero(row)
    return np.diff(indices, prepend=-1) - 1, row[indices]


def _pairs(row: Weights) -> NDArray[np.uint8]:
    """uint8 (entries, 2): distances, and weights; those of 0 bridge what is too far."""
    gaps, values = _gaps(row)
    distances = gaps + 1
    distances[:1] -= 1  # the first one counts from index 0
    bridges = np.maximum(distances - 1, 0) // _D8_REACH
    pairs = np.zeros((int(len(values) + bridges.sum()), 2), np.uint8)
    pairs[:, 0] = _D8_REACH
    last = np.cumsum(bridges + 1) - 1
    pairs[last, 0] = distances - _D8_REACH * bridges
    pairs[last, 1] = values.view(np.uint8)
    return pairs


def _encode_d8(row: Weights) -> tuple[int, bytes]:
    pairs = _pairs(row)
    return len(pairs), pairs.tobytes()


def _encode_d4(row: Weights) -> tuple[int, bytes]:
    pairs = _pairs(row)
    weights = (pairs[:, 1] & 15).astype(np.uint8)
    return len(pairs), pairs[:, 0].tobytes() + _packed(weights).tobytes()


def _packed(nibbles: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two of them a byte, the first one low."""
    padded = np.append(nibbles, np.zeros(len(nibbles) % 2, np.uint8))
    return (padded[0::2] | (padded[1::2] << 4)).astype(np.uint8)


def _unpacked(packed: NDArray[np.uint8], count: int) -> NDArray[np.uint8]:
    return np.stack([packed & 15, packed >> 4], axis=1).reshape(-1)[:count]


def _signed(nibbles: NDArray[np.uint8]) -> Weights:
    return ((nibbles.astype(np.int8) ^ 8) - 8).astype(np.int8)


def _encode_n4(row: Weights) -> tuple[int, bytes]:
    gaps, values = _gaps(row)
    skips = gaps // _N4_SKIP
    nibbles = np.full(int(len(values) + skips.sum()), _N4_SKIP, np.uint8)
    nibbles[np.cumsum(skips + 1) - 1] = gaps % _N4_SKIP
    return len(nibbles), _packed(nibbles).tobytes() + values.tobytes()


def _encode_p4(row: Weights) -> tuple[int, bytes]:
    gaps, values = _gaps(row)
    long, short = gaps // _P4_SKIP, gaps % _P4_SKIP // _P4_GAP
    entries = np.full(int(len(values) + long.sum() + np.count_nonzero(short)), 15, np.uint8)
    last = np.cumsum(long + (short > 0) + 1) - 1
    entries[last] = (gaps % _P4_GAP).astype(np.uint8) | (values.view(np.uint8) << 4)
    entries[last[short > 0] - 1] = short[short > 0] - 1
    return len(entries), entries.tobytes()


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


def _decode_d4(stream: NDArray[np.uint8], count: int, row: Weights) -> int:
    end = count + (count + 1) // 2
    distances, values = stream[:count], _signed(_unpacked(stream[count:end], count))
    stored = values != 0
    row[np.cumsum(distances, dtype=np.int64)[stored]] = values[stored]
    return end


def _decode_p4(stream: NDArray[np.uint8], count: int, row: Weights) -> int:
    entries = stream[:count].reshape(count)
    values = _signed((entries >> 4).astype(np.uint8))
    gaps, stored = (entries & 15).astype(np.int64), values != 0
    ends = np.cumsum(np.where(stored, gaps + 1, _P4_GAP * (gaps + 1)))
    row[ends[stored] - 1] = values[stored]
    return count


def _decode_n4(stream: NDArray[np.uint8], count: int, row: Weights) -> int:
    gap_bytes = (count + 1) // 2
    nibbles = _unpacked(stream[:gap_bytes], count)
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


ENCODERS: dict[WeightFormat, Callable[[Weights], tuple[int, bytes]]] = {
    WeightFormat.D8: _encode_d8,
    WeightFormat.N4: _encode_n4,
    WeightFormat.BITMAP: _encode_bitmap,
    WeightFormat.DENSE: _encode_dense,
    WeightFormat.D4: _encode_d4,
    WeightFormat.P4: _encode_p4,
}
"""Each returns the number of entries and the stream of one row."""

DECODERS: dict[WeightFormat, Callable[[NDArray[np.uint8], int, Weights], int]] = {
    WeightFormat.D8: _decode_d8,
    WeightFormat.N4: _decode_n4,
    WeightFormat.BITMAP: _decode_bitmap,
    WeightFormat.DENSE: _decode_dense,
    WeightFormat.D4: _decode_d4,
    WeightFormat.P4: _decode_p4,
}
"""Each fills one row, which is zero before, and returns the bytes read."""
