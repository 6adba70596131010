"""Encode: devices that can train nothing send their test pictures as a few bytes each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from fedtiny.codecs.blocks import MOST_BYTES
from fedtiny.codecs.device_half import DeviceHalf
from fedtiny.codecs.float_encoder import FloatEncoder
from fedtiny.codecs.latent_code import Alphabet, LatentCode
from fedtiny.models.graph import Graph
from fedtiny.wire.calibrate import RangesResult
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet, WireError

FIELDS: Mapping[str, str] = {
    "codes": "the codes of its test pictures, one after the other",
    "sizes": "bytes of each code",
    "labels": "class of each of these pictures",
    "encode_refused": "why it sends none",
}
"""What each array or number of the reply is, by kind."""


@dataclass(frozen=True, slots=True, eq=False)
class EncodeTask:
    """Encode your test pictures by this.

    Attributes:
        half: of the codec, on the device.
    """

    half: DeviceHalf

    def packet(self) -> Packet:
        """As named arrays: the encoder in floating point, ranges, alphabet and tables."""
        encoder, code = self.half.trained, self.half.code
        arrays = {
            **ModelTask(encoder.model, encoder.normalization).packet(encoder.graph).arrays,
            **RangesResult(encoder.ranges).packet(encoder.graph).arrays,
            "symbol_of": code.alphabet.of_int8,
            "symbol_values": code.alphabet.values,
            "frequencies": code.frequencies.astype(np.int32),
        }
        return Packet(arrays)

    @classmethod
    def read(cls, graph: Graph, packet: Packet) -> Self:
        """The inverse of :meth:`packet`; ``graph`` is the encoder's.

        Raises:
            WireError: the packet does not hold what it should.
            CodecError: alphabet or tables are none.
        """
        task = ModelTask.read(graph, packet)
        ranges = RangesResult.read(graph, packet).ranges
        trained = FloatEncoder(graph, task.model, task.normalization, ranges)
        symbols = packet.integers("symbol_of", np.uint8, (256,))
        number = int(symbols.max()) + 1
        shape = graph.shapes[graph.logits]
        frequencies = packet.integers("frequencies", np.int32, (shape[0], number))
        letters = Alphabet(symbols, packet.floats("symbol_values", (number,)))
        code = LatentCode(shape, letters, frequencies.astype(np.int64))
        return cls(DeviceHalf(trained.quantized(), code, trained))


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
        if sizes.min() < 1 or sizes.max() > MOST_BYTES or sizes.sum() != blob.size:
            raise WireError(f"sizes: they are not those of {blob.size} bytes of codes")
        ends = sizes.cumsum()
        codes = (blob[end - size : end].tobytes() for size, end in zip(sizes, ends, strict=True))
        return cls(tuple(codes), labels)
