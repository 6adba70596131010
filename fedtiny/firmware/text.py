"""C literals and names from Python values: pure functions."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from fedtiny.errors import FedTinyError

_LINE = 96


@dataclass(frozen=True, slots=True, eq=False)
class Array:
    """One constant C array.

    Attributes:
        name: C identifier.
        comment: one line.
        values: integers; their dtype becomes the C type.
    """

    name: str
    comment: str
    values: npt.NDArray[np.integer]

    @property
    def type(self) -> str:
        """C type, e.g. ``"int8_t"``."""
        return f"{self.values.dtype.name}_t"

    @property
    def length(self) -> int:
        """Number of elements."""
        return self.values.size

    @property
    def nbytes(self) -> int:
        """Bytes of flash."""
        return self.values.nbytes

    @property
    def data(self) -> bytes:
        """The bytes in flash: little-endian, as on every Cortex-M."""
        return self.values.astype(self.values.dtype.newbyteorder("<")).tobytes()

    @property
    def crc(self) -> str:
        """CRC-32 of :attr:`data` as a C literal."""
        return f"UINT32_C(0x{zlib.crc32(self.data):08X})"

    @property
    def literals(self) -> Markup:
        """The initialiser's lines, as code."""
        return Markup(
            wrap(integer(value, self.values.dtype) for value in self.values.ravel().tolist())
        )


def integer(value: int, dtype: np.dtype[np.integer]) -> str:
    """A C literal that compilers accept at full strictness.

    >>> integer(-128, np.dtype(np.int8)), integer(5, np.dtype(np.int64))
    ('-128', 'INT64_C(5)')
    """
    if dtype.itemsize == 8:
        return f"INT64_C({value})"
    if value == -(2**31):
        return "INT32_MIN"
    return str(value)


def wrap(literals: Iterable[str]) -> str:
    """Comma-separated literals in indented lines of at most 100 characters."""
    lines, line = [], ""
    for literal in literals:
        if line and len(line) + len(literal) > _LINE - 4:
            lines.append(f"    {line.rstrip()}")
            line = ""
        line += f"{literal}, "
    lines.append(f"    {line.rstrip(', ')}")
    return "\n".join(lines)


def identifier(name: str) -> str:
    """The C identifier of a node name.

    >>> identifier("stage1.conv1")
    'stage1_conv1'
    """
    return re.sub(r"\W", "_", name, flags=re.ASCII)


def real(value: float) -> str:
    """A C float literal that reads back as the same float32.

    >>> real(0.1), real(1.0)
    ('0.1f', '1.0f')
    """
    return f"{np.float32(value)!s}f"


def check_unique(names: Iterable[str]) -> None:
    """Raise FedTinyError if two node names become one C identifier."""
    seen: dict[str, str] = {}
    for name in names:
        clash = seen.setdefault(identifier(name), name)
        if clash != name:
            raise FedTinyError(
                f"nodes {clash!r} and {name!r} have the same C name {identifier(name)!r}; "
                "rename one of them"
            )
