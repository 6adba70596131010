"""A code whose order depends on the picture: where there is most to see, it is sent first.

LimitNet (Hojjat et al., MobiSys 2024) orders a latent's places by a saliency that a branch of its
encoder learns. Here the first maps are sent whole, and what they hold at a place is its saliency:
both ends know it, so that no order is sent and no branch is computed. Then come the places, the
most salient first, each with all other maps. Any prefix of a code is one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedtiny.codecs.latent_code import ABSENT, LatentCode, Symbols
from fedtiny.codecs.range_coder import RangeDecoder, RangeEncoder
from fedtiny.sparse.tensor import Floats

BASE = 4
"""Maps that are sent whole, before the places."""


def salient_places(base: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
    """Places by descending sum of their symbols in the base maps (B, P); of equal ones the first.

    >>> salient_places(np.array([[0, 2, 1], [1, 1, 0]])).tolist()
    [1, 0, 2]
    """
    return np.argsort(-base.sum(0, dtype=np.int64), kind="stable")


@dataclass(frozen=True, eq=False)
class SalientOrder:
    """Another order of a code's symbols, by the same tables.

    Attributes:
        code: alphabet and tables.
        base: maps that are sent first, in order.

    >>> from fedtiny.codecs.latent_code import Alphabet
    >>> levels, seen = Alphabet.of_bits(1, 1.0, -128), np.array([[[0, 0, 1], [0, 1, 1]]])
    >>> order = SalientOrder(LatentCode.fitted((2, 1, 3), levels, seen), base=1)
    >>> data = order.encode(np.array([[0, 0, 1], [1, 0, 1]], np.uint8))
    >>> symbols, arrived = order.decode(data)
    >>> symbols.tolist(), bool(arrived.all())
    ([[0, 0, 1], [1, 0, 1]], True)
    """

    code: LatentCode
    base: int = BASE

    def encode(self, symbols: Symbols) -> bytes:
        """The whole code of symbols (C, P)."""
        encoder, tables = RangeEncoder(), self.code.tables.tolist()
        for place in range(self.code.positions * self.base):
            row, column = divmod(place, self.code.positions)
            encoder.put(tables[row], int(symbols[row, column]))
        for column in salient_places(symbols[: self.base]).tolist():
            for row in range(self.base, len(symbols)):
                encoder.put(tables[row], int(symbols[row, column]))
        return encoder.finish()

    def decode(self, data: bytes) -> tuple[Symbols, npt.NDArray[np.bool_]]:
        """(symbols uint8 (C, P), which of them the bytes determine); the others are 0."""
        decoder, tables = RangeDecoder(data), self.code.tables.tolist()
        shape = (self.code.shape[0], self.code.positions)
        symbols, arrived = np.zeros(shape, np.uint8), np.zeros(shape, np.bool_)
        for row in range(self.base):
            for column in range(shape[1]):
                symbol = decoder.get(tables[row])
                if symbol is None:
                    return symbols, arrived
                symbols[row, column], arrived[row, column] = symbol, True
        for column in salient_places(symbols[: self.base]).tolist():
            for row in range(self.base, shape[0]):
                symbol = decoder.get(tables[row])
                if symbol is None:
                    return symbols, arrived
                symbols[row, column], arrived[row, column] = symbol, True
        return symbols, arrived

    def values(self, data: bytes) -> Floats:
        """What the server reads, float32 (C, H, W); :data:`ABSENT` where nothing arrived."""
        symbols, arrived = self.decode(data)
        found = np.where(arrived, self.code.alphabet.values[symbols], ABSENT).astype(np.float32)
        return found.reshape(self.code.shape)
