"""What a server sends to a device that is to encode its pictures; it answers by wire.encode."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from fedtiny.codecs.device_half import DeviceHalf
from fedtiny.codecs.float_encoder import FloatEncoder
from fedtiny.codecs.latent_code import Alphabet, LatentCode
from fedtiny.models.graph import Graph
from fedtiny.wire.calibrate import RangesResult
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet


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
