"""What every codec is: a picture to bytes on the device, bytes to logits on the server."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
"""(C, H, W) sensor counts."""

Logits = npt.NDArray[np.float32]
"""(classes,)."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured setting of a codec.

    Attributes:
        payload_bytes: mean per picture, by the codec's own convention.
        accuracy: share of pictures whose class was found, in [0, 1].
    """

    payload_bytes: float
    accuracy: float


class Codec(Protocol):
    """A picture to bytes, and bytes to logits.

    ``payload_bytes`` says what counts when codecs are compared: bytes that depend on the picture.
    Tables and headers that both ends can hold beforehand are left out for every codec alike; what a
    file of its own would take is ``len(encode(…))`` for the picture formats.
    """

    def encode(self, x: Picture, budget_bytes: int) -> bytes:
        """The best code of ``x`` whose payload is at most ``budget_bytes``.

        Raises:
            CodecError: nothing fits the budget, or ``x`` is no picture of the codec's shape.
        """
        ...

    def decode(self, code: bytes) -> Logits:
        """Logits, float32 (classes,).

        Raises:
            CodecError: the bytes are no code of this codec's, or too few to say anything.
        """
        ...

    def payload_bytes(self, code: bytes) -> int:
        """Bytes of ``code`` that depend on the picture."""
        ...

    def ladder(self) -> tuple[Point, ...]:
        """What it reached where it was measured, by ascending bytes; empty if nobody did."""
        ...
