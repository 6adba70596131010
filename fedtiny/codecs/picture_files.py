"""JPEG, progressive JPEG and WebP by Pillow: files, their payload, and cuts."""

from __future__ import annotations

import io
from collections.abc import Iterator
from enum import StrEnum
from types import ModuleType

import numpy as np

from fedtiny.codecs.codec import Picture
from fedtiny.codecs.errors import CodecError
from fedtiny.models.ops import Shape

_END = b"\xff\xd9"
_START_OF_SCAN = 0xDA
_ALONE = {0xD8, 0xD9, *range(0xD0, 0xD8)}
"""Markers without a length: start, end, restarts."""

_WEBP_HEADER_BYTES = 12 + 8 + 10
"""RIFF, the chunk's own, and VP8's frame tag, start code and size (RFC 9649, RFC 6386)."""


class PictureFormat(StrEnum):
    """A kind of file."""

    JPEG = "jpeg"
    PROGRESSIVE_JPEG = "progressive_jpeg"
    WEBP = "webp"


def write(x: Picture, kind: PictureFormat, quality: int) -> bytes:
    """A file of uint8 (1, H, W) or (3, H, W).

    Args:
        x: the picture.
        kind: of the file.
        quality: 1 to 95, as Pillow counts.

    Raises:
        CodecError: another shape, or Pillow is not installed.
    """
    if x.ndim != 3 or x.shape[0] not in (1, 3) or x.dtype != np.uint8:
        raise CodecError(f"a picture is uint8 (1 or 3, H, W), got {x.dtype} {x.shape}")
    pixels = x[0] if len(x) == 1 else np.ascontiguousarray(x.transpose(1, 2, 0))
    file = io.BytesIO()
    image = _pillow().fromarray(pixels)
    if kind is PictureFormat.WEBP:
        image.convert("RGB").save(file, "WEBP", quality=quality, method=6)
    else:
        progressive = kind is PictureFormat.PROGRESSIVE_JPEG
        image.save(file, "JPEG", quality=quality, progressive=progressive, optimize=progressive)
    return file.getvalue()


def read(file: bytes, shape: Shape) -> Picture:
    """The picture, uint8 ``shape``.

    Raises:
        CodecError: it is no JPEG or WebP file of that size, or Pillow is not installed.
    """
    pillow = _pillow()
    try:
        with pillow.open(io.BytesIO(file), formats=("JPEG", "WEBP")) as image:
            found = image.size
            if found == (shape[2], shape[1]):
                pixels = np.asarray(image.convert("L" if shape[0] == 1 else "RGB"))
                return pixels.reshape(*shape[1:], shape[0]).transpose(2, 0, 1)
    except Exception as error:  # damage leads to errors of every kind
        raise CodecError(f"no picture: {error}; send it again") from error
    raise CodecError(f"the picture is {found[0]}×{found[1]}, expected {shape[2]}×{shape[1]}")


def payload_bytes(file: bytes) -> int:
    """Bytes that depend on the picture, if headers and tables are known beforehand.

    Of a JPEG: entropy-coded bytes of all scans. A progressive one's Huffman tables are made for
    the picture and still count as known, which flatters it. Of WebP, all but the fixed headers: its
    probabilities lie among the rest.

    Raises:
        CodecError: it is neither.
    """
    if file[:4] == b"RIFF":
        return max(0, len(file) - _WEBP_HEADER_BYTES)
    return sum(end - start for start, end in _scans(file))


def cut(file: bytes, budget_bytes: int) -> bytes:
    """A JPEG file without what exceeds ``budget_bytes`` of its entropy-coded bytes.

    Raises:
        CodecError: it is no JPEG.
    """
    left = budget_bytes
    for start, end in _scans(file):
        if end - start > left:
            return file[: start + left] + _END
        left -= end - start
    return file


def _scans(file: bytes) -> Iterator[tuple[int, int]]:
    """(start, end) of every scan's entropy-coded bytes."""
    if file[:2] != b"\xff\xd8":
        raise CodecError("no JPEG file: it does not begin with ff d8")
    at = 2
    while at + 4 <= len(file) and file[at] == 0xFF:
        marker = file[at + 1]
        if marker in _ALONE:
            at += 2
            continue
        at += 2 + int.from_bytes(file[at + 2 : at + 4], "big")
        if marker == _START_OF_SCAN and at <= len(file):
            start, at = at, _scan_end(file, at)
            yield start, at


def _scan_end(file: bytes, at: int) -> int:
    while (at := file.find(b"\xff", at)) >= 0:
        follows = file[at + 1 : at + 2]
        if follows and (follows[0] == 0 or 0xD0 <= follows[0] < 0xD8):
            at += 2  # a stuffed byte, or a restart
        else:
            return at
    return len(file)


def _pillow() -> ModuleType:
    try:
        from PIL import Image  # noqa: PLC0415 - Pillow is optional
    except ImportError as error:
        raise CodecError("picture formats need Pillow: pip install 'fedtiny[data]'") from error
    return Image
