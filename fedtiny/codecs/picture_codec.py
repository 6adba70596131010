"""Picture formats as codecs: a file small enough, then a classifier of what comes out of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedtiny.codecs.codec import Logits, Picture, Point
from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.picture_files import PictureFormat, cut, payload_bytes, read, write
from fedtiny.models.ops import Shape

Classify = Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.float32]]
"""Pictures (N, C, H, W) to logits (N, classes)."""

QUALITIES = (1, 2, 3, 5, 8, 12, 18, 25, 35, 50, 65, 80, 95)


@dataclass(frozen=True, slots=True)
class PictureCodec:
    """Codes are files; those of progressive JPEG may be cut.

    Attributes:
        kind: of the files.
        shape: (C, H, W) of pictures.
        classify: on the server.
        qualities: ascending; the largest whose file fits the budget is taken. A progressive file
            has the last one, and is cut.
        points: what was measured.
    """

    kind: PictureFormat
    shape: Shape
    classify: Classify
    qualities: tuple[int, ...] = QUALITIES
    points: tuple[Point, ...] = ()

    def encode(self, x: Picture, budget_bytes: int) -> bytes:
        """The best file whose payload fits; see :class:`~fedtiny.codecs.codec.Codec`."""
        if x.shape != self.shape:
            raise CodecError(f"a picture of {self.shape} is expected, got {x.shape}")
        if self.kind is PictureFormat.PROGRESSIVE_JPEG:
            return cut(write(x, self.kind, self.qualities[-1]), budget_bytes)
        for quality in reversed(self.qualities):
            file = write(x, self.kind, quality)
            if payload_bytes(file) <= budget_bytes:
                return file
        raise CodecError(
            f"{self.kind.value}: the smallest file has {payload_bytes(file)} bytes of payload, "
            f"more than {budget_bytes}; allow more, or send fewer pixels"
        )

    def decode(self, code: bytes) -> Logits:
        """Logits of the picture in a file."""
        logits: Logits = self.classify(read(code, self.shape)[None])[0]
        return logits

    def payload_bytes(self, code: bytes) -> int:
        """Without headers and tables, see :func:`fedtiny.codecs.picture_files.payload_bytes`."""
        return payload_bytes(code)

    def ladder(self) -> tuple[Point, ...]:
        """What was measured."""
        return self.points
