"""Arrays of a MATLAB 5 file, as far as SVHN's need: read here, because a damaged one takes SciPy's
reader, and the interpreter with it, down.

A file is a header of 128 bytes and elements: a tag that says type and length, then the content. An
array is an element of elements: flags, sides, name, numbers, which may be stored narrower than they
are. An element may be compressed.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.errors import bad_file

_HEADER = 128
_MATRIX, _COMPRESSED = 14, 15
_STORED = {
    1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8",
}  # fmt: skip
_CLASSES = {
    6: "f8", 7: "f4", 8: "i1", 9: "u1", 10: "i2", 11: "u2", 12: "i4", 13: "u4", 14: "i8", 15: "u8",
}  # fmt: skip
_COMPLEX = 0x800
_BYTE_ORDERS = {b"IM": "<", b"MI": ">"}


class _DamagedError(ValueError):
    """What is wrong with a file."""


def read_mat(path: Path, names: tuple[str, ...]) -> dict[str, NDArray[Any]]:
    """Those arrays of numbers among ``names`` that the file holds, in this machine's byte order.

    Raises:
        DataError: unreadable, truncated, damaged, or of another version.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise bad_file(path, f"cannot be read: {error.strerror}") from error
    order = _BYTE_ORDERS.get(raw[126:128])
    if order is not None and raw[124:126] in (b"\x00\x02", b"\x02\x00"):
        raise bad_file(path, "is a MATLAB 7.3 file; SVHN's are MATLAB 5")
    if order is None or raw[124:126] not in (b"\x00\x01", b"\x01\x00"):
        raise bad_file(path, "truncated, or not a MATLAB 5 file")
    try:
        return dict(_arrays(raw[_HEADER:], order, names))
    except (_DamagedError, zlib.error, struct.error, UnicodeDecodeError) as error:
        raise bad_file(path, f"truncated, or not a MATLAB 5 file: {error}") from error


@dataclass(frozen=True, slots=True)
class _Element:
    kind: int
    content: memoryview


def _arrays(raw: bytes, order: str, names: tuple[str, ...]) -> Iterator[tuple[str, NDArray[Any]]]:
    for element in _elements(memoryview(raw), order):
        if element.kind == _COMPRESSED:
            whole = memoryview(zlib.decompress(element.content))
            element = next(_elements(whole, order), element)
        if element.kind != _MATRIX:
            raise _DamagedError(f"element of type {element.kind}, expected an array")
        parts = _elements(element.content, order)
        flags, sides, name = (next(parts, _Element(0, memoryview(b""))) for _ in range(3))
        title = bytes(name.content).decode("ascii")
        if title in names:
            yield title, _array(flags, sides, next(parts, None), order)


def _array(flags: _Element, sides: _Element, numbers: _Element | None, order: str) -> NDArray[Any]:
    (flag,) = struct.unpack_from(order + "I", flags.content)
    shape = np.frombuffer(sides.content, order + "i4").tolist()
    if flag & _COMPLEX or flag & 0xFF not in _CLASSES:
        raise _DamagedError("not an array of real numbers")
    if numbers is None or numbers.kind not in _STORED:
        raise _DamagedError("an array without numbers")
    stored = np.dtype(order + _STORED[numbers.kind])
    if min(shape, default=-1) < 0 or prod(shape) * stored.itemsize != len(numbers.content):
        raise _DamagedError(f"{len(numbers.content)} bytes for an array of {shape!s:.80}")
    if len(shape) > 32:
        raise _DamagedError(f"an array of {len(shape)} sides")
    flat = np.frombuffer(numbers.content, stored)
    wide = _converted(flat, np.dtype(_CLASSES[flag & 0xFF]))
    return wide.reshape(shape, order="F")


def _converted(flat: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Numbers as the type that they are; stored ones always fit, unless the file is damaged."""
    with np.errstate(invalid="ignore", over="ignore"):
        wide = flat.astype(dtype)
    if not np.array_equal(wide, flat, equal_nan=True):
        raise _DamagedError(f"numbers that are not of type {dtype}")
    return wide


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    at = 0
    while at < len(content):
        (first,) = struct.unpack_from(order + "I", content, at)
        if first >> 16:  # up to four bytes lie in the tag itself
            kind, size, start, after = first & 0xFFFF, first >> 16, at + 4, at + 8
            if size > 4:
                raise _DamagedError(f"an element of {size} bytes within four")
        else:
            (size,) = struct.unpack_from(order + "I", content, at + 4)
            kind, start = first, at + 8
            after = start + (size if kind == _COMPRESSED else -(-size // 8) * 8)
        if start + size > len(content):
            raise _DamagedError(f"an element of {size} bytes, {len(content) - start} are there")
        yield _Element(kind, content[start : start + size])
        at = after
