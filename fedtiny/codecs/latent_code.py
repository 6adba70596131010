"""What an encoder's int8 maps become on the way: symbols, then bytes by static tables."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Self

import numpy as np
import numpy.typing as npt

from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.range_coder import TOTAL, RangeDecoder, RangeEncoder
from fedtiny.models.ops import Shape
from fedtiny.quant.tensors import Int8s
from fedtiny.sparse.tensor import Floats

Symbols = npt.NDArray[np.uint8]

ABSENT = -1.0
"""What the server reads for a feature that did not arrive: no value of a ReLU's."""
MOST_SYMBOLS = 64
"""Of an alphabet: PNC's six bits."""


@dataclass(frozen=True, slots=True, eq=False)
class Alphabet:
    """Which symbol an int8 value is, and what the server reads in its place.

    Attributes:
        of_int8: uint8 (256,): symbol of the value q at position q + 128.
        values: float32 (L,): of each symbol.

    Raises:
        CodecError: symbols without a value, or too many.
    """

    of_int8: Symbols
    values: Floats

    def __post_init__(self) -> None:
        if not 2 <= len(self.values) <= MOST_SYMBOLS or len(self.of_int8) != 256:
            raise CodecError(
                f"an alphabet has 2 to {MOST_SYMBOLS} symbols and a table of 256, got "
                f"{len(self.values)} and {len(self.of_int8)}"
            )
        if int(self.of_int8.max()) >= len(self.values):
            raise CodecError(f"symbol {self.of_int8.max()} of {len(self.values)} has no value")

    @classmethod
    def of_bits(cls, bits: int, scale: float, zero_point: int) -> Self:
        """Values above the zero point, rounded to 2^bits levels: for the maps of a ReLU.

        >>> alphabet = Alphabet.of_bits(4, 0.5, -128)
        >>> alphabet.of_int8[[0, 127, 255]].tolist(), alphabet.values[[0, 1, 15]].tolist()
        ([0, 7, 15], [0.0, 8.5, 127.5])
        """
        levels, codes = (1 << bits) - 1, np.arange(256) - 128 - zero_point
        step = codes[-1] / levels
        symbols = np.clip(np.floor(codes / step + 0.5), 0, levels)
        return cls(symbols.astype(np.uint8), (np.arange(levels + 1) * step * scale).astype("f4"))

    @classmethod
    def of_centres(cls, centres: Floats, scale: float, zero_point: int) -> Self:
        """The nearest of learned centres, float32 (L,), ascending.

        >>> Alphabet.of_centres(np.array([-1, 1], "f4"), 0.1, 0).of_int8[[127, 129]].tolist()
        [0, 1]
        """
        real = scale * (np.arange(256) - 128 - zero_point)
        nearest = np.abs(real[:, None] - centres[None].astype(np.float64)).argmin(1)
        return cls(nearest.astype(np.uint8), centres)


@dataclass(frozen=True, eq=False)
class LatentCode:
    """An encoder's maps as bytes, one map (a *feature*) after the other.

    Attributes:
        shape: (C, H, W) of the encoder's output.
        alphabet: of every map.
        frequencies: int (C, L), of each map's symbols; rows sum to
            :data:`~fedtiny.codecs.range_coder.TOTAL`, none is 0.

    >>> levels, seen = Alphabet.of_bits(2, 1.0, -128), np.array([[[0, 0, 0, 1]]])
    >>> code = LatentCode.fitted((1, 1, 4), levels, seen)
    >>> data = code.encode(np.array([[0, 0, 1, 0]], np.uint8))
    >>> data.hex(), code.decode(data).tolist()
    ('6c', [[0, 0, 1, 0]])
    """

    shape: Shape
    alphabet: Alphabet
    frequencies: npt.NDArray[np.int64]

    def __post_init__(self) -> None:
        expected = (self.shape[0], len(self.alphabet.values))
        good = self.frequencies.shape == expected and self.frequencies.min() >= 1
        if not good or (self.frequencies.sum(1) != TOTAL).any():
            raise CodecError(f"frequencies must be {expected}, none below 1, rows of sum {TOTAL}")

    @classmethod
    def fitted(cls, shape: Shape, alphabet: Alphabet, symbols: npt.NDArray[np.integer]) -> Self:
        """Tables of the symbols (N, C, H·W) of training pictures; one for every map."""
        number = len(alphabet.values)
        counts = np.stack(
            [np.bincount(symbols[:, c].ravel(), minlength=number) for c in range(shape[0])]
        )
        found = 1 + counts * (TOTAL - number) // np.maximum(counts.sum(1, keepdims=True), 1)
        rows = np.arange(len(found))
        found[rows, found.argmax(1)] += TOTAL - found.sum(1)
        return cls(shape, alphabet, found)

    @cached_property
    def tables(self) -> npt.NDArray[np.uint16]:
        """uint16 (C, L + 1): frequencies summed up, as the coder reads them."""
        zeros = np.zeros((self.shape[0], 1), np.int64)
        return np.hstack([zeros, self.frequencies.cumsum(1)]).astype(np.uint16)

    @cached_property
    def _tables(self) -> list[list[int]]:
        return [[int(x) for x in row] for row in self.tables]

    @property
    def positions(self) -> int:
        """Symbols of a map."""
        return prod(self.shape[1:])

    def symbols(self, latent: Int8s) -> Symbols:
        """uint8 (N, C, H·W) of int8 maps (N, H·W·C), as the exported encoder writes them."""
        maps = latent.reshape(len(latent), self.positions, self.shape[0]).transpose(0, 2, 1)
        return self.alphabet.of_int8[maps.astype(np.int16) + 128]

    def bits(self, symbols: Symbols) -> float:
        """What the tables say that symbols (C, H·W) take: −Σ log2 of their shares."""
        shares = np.take_along_axis(self.frequencies, symbols.astype(np.int64), 1) / TOTAL
        return float(-np.log2(shares).sum())

    def encode(self, symbols: Symbols) -> bytes:
        """The whole code of symbols (C, H·W); any prefix of it is a code of fewer maps."""
        encoder = RangeEncoder()
        for table, row in zip(self._tables, symbols.tolist(), strict=True):
            for symbol in row:
                encoder.put(table, symbol)
        return encoder.finish()

    def decode(self, data: bytes) -> Symbols:
        """The maps that ``data`` determines whole, uint8 (n, H·W), n from 0 to C."""
        found = self.determined(data)
        whole = len(found) // self.positions
        return found[: whole * self.positions].reshape(whole, self.positions)

    def determined(self, data: bytes) -> Symbols:
        """The symbols that ``data`` determines, in order, uint8 (n,), n from 0 to C·H·W."""
        decoder, found = RangeDecoder(data), list[int]()
        for table in self._tables:
            for _ in range(self.positions):
                symbol = decoder.get(table)
                if symbol is None:
                    return np.array(found, np.uint8)
                found.append(symbol)
        return np.array(found, np.uint8)

    def values(self, symbols: Symbols) -> Floats:
        """What the server reads, float32 (C, H, W), of the first symbols (n,).

        The others are :data:`ABSENT`.
        """
        found = np.full(self.shape[0] * self.positions, ABSENT, np.float32)
        found[: symbols.size] = self.alphabet.values[symbols.ravel()]
        return found.reshape(self.shape)
