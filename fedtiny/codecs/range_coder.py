"""A range coder with static tables (Martin 1979), in Python; ``c/fedtiny_code.c`` is its twin.

A table is ascending: symbol s has the frequencies from ``table[s]`` to ``table[s + 1]`` of
:data:`TOTAL`. Here the lower end of the interval is one integer of any length, where the C keeps 32
bits and pending carries: two ways to the same bytes.

A prefix of a code is a code: :class:`RangeDecoder` yields a symbol only where every continuation of
the bytes at hand would yield the same.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

PRECISION = 12
TOTAL = 1 << PRECISION
"""Sum of a table's frequencies."""

_WINDOW = 32
_LEAST = 1 << 24
_FULL = (1 << _WINDOW) - 1


class RangeEncoder:
    """Symbols to bytes.

    >>> encoder = RangeEncoder()
    >>> for symbol in (0, 1, 1, 0):
    ...     encoder.put((0, 3000, 4096), symbol)
    >>> encoder.finish().hex()
    'af'
    """

    def __init__(self) -> None:
        self._low = 0
        self._range = _FULL
        self._shifted = 0

    def put(self, table: Sequence[int], symbol: int) -> None:
        """Add a symbol of the table."""
        step = self._range >> PRECISION
        self._low += step * table[symbol]
        self._range = step * (table[symbol + 1] - table[symbol])
        while self._range < _LEAST:
            self._low <<= 8
            self._range <<= 8
            self._shifted += 1

    def finish(self) -> bytes:
        """The shortest bytes whose every continuation lies in the interval."""
        for kept in range(1, 5):
            step = 1 << (_WINDOW - 8 * kept)
            value = -(-self._low // step) * step
            if value + step <= self._low + self._range:
                break
        return (value // step).to_bytes(self._shifted + kept, "big")


class RangeDecoder:
    """Bytes to symbols, as long as they are certain.

    >>> decoder = RangeDecoder(bytes.fromhex("af"))
    >>> [decoder.get((0, 3000, 4096)) for _ in range(4)]
    [0, 1, 1, 0]
    >>> RangeDecoder(b"").get((0, 3000, 4096))  # nothing is certain
    """

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0
        self._code = 0
        self._unknown = 0  # the code is at most this much larger
        self._range = _FULL
        for _ in range(4):
            self._shift()

    def get(self, table: Sequence[int]) -> int | None:
        """The next symbol of the table; None if the bytes do not determine it."""
        step = self._range >> PRECISION
        end = step << PRECISION
        if self._code >= end:
            return None  # no encoder's
        last = min(self._code + self._unknown, end - 1) // step
        symbol = bisect_right(table, self._code // step) - 1
        if last >= table[symbol + 1]:
            return None
        self._code -= step * table[symbol]
        self._range = step * (table[symbol + 1] - table[symbol])
        while self._range < _LEAST:
            self._range <<= 8
            self._shift()
        return symbol

    def _shift(self) -> None:
        known = self._at < len(self._data)
        self._code = (self._code << 8 | (self._data[self._at] if known else 0)) & _FULL
        self._unknown = min(self._unknown << 8 | (0 if known else 0xFF), _FULL)
        self._at += known
