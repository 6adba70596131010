"""Encode: devices that can train nothing send their test pictures as a few bytes each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fedtiny.wire.packet import Packet, WireError

FIELDS: Mapping[str, str] = {
    "codes": "the codes of its test pictures, one after the other",
    "sizes": "bytes of each code",
    "labels": "class of each of these pictures",
    "encode_refused": "why it sends none",
}
"""What each array or number of the reply is, by kind."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodeResult:
    """What one device sends.

    Attributes:
        codes: of its test pictures.
        labels: their classes, int64 (N,).
        refused: why there are none; empty if it sends some.
    """

    codes: tuple[bytes, ...]
    labels: npt.NDArray[np.int64]
    refused: str = ""

    def packet(self) -> Packet:
        """As named arrays."""
        if self.refused:
            return Packet(scalars={"encode_refused": self.refused})
        return Packet(
            {
                "codes": np.frombuffer(b"".join(self.codes), np.uint8),
                "sizes": np.array([len(code) for code in self.codes], np.int32),
                "labels": self.labels.astype(np.int64),
            }
        )

    @classmethod
    def read(cls, classes: int, most: int, packet: Packet) -> Self:
        """The inverse of :meth:`packet`.

        Args:
            classes: of the model.
            most: pictures that the device may have.
            packet: the reply.

        Raises:
            WireError: the packet does not hold what it should.
        """
        if "encode_refused" in packet.scalars:
            return cls((), np.zeros(0, np.int64), packet.name("encode_refused"))
        blob, number = packet.blob("codes"), packet.arrays.get("labels", np.zeros(0)).size
        labels = packet.integers("labels", np.int64, (number,))
        sizes = packet.integers("sizes", np.int32, (number,)).astype(np.int64)
        if not 1 <= number <= most:
            raise WireError(f"labels: of {number} pictures, but the device described {most}")
        if labels.min() < 0 or labels.max() >= classes:
            raise WireError(f"labels: not all are classes 0 to {classes - 1}")
        if sizes.min() < 1 or sizes.sum() != blob.size:
            raise WireError(f"sizes: they are not those of {blob.size} bytes of codes")
        ends = sizes.cumsum()
        codes = (blob[end - size : end].tobytes() for size, end in zip(sizes, ends, strict=True))
        return cls(tuple(codes), labels)
