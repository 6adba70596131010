"""A trained encoder as the device has it: int8, its maps' alphabet, and tables."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np

from fedtiny.codecs.codec import Picture
from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.float_encoder import FloatEncoder
from fedtiny.codecs.latent_code import LatentCode, Symbols
from fedtiny.quant import reference
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.tensors import Int8s


@dataclass(frozen=True, eq=False)
class DeviceHalf:
    """What runs on the device.

    Attributes:
        encoder: int8, exported as any other model.
        code: of its output.
        trained: what the encoder was quantized from.
    """

    encoder: IntegerGraph
    code: LatentCode
    trained: FloatEncoder

    def symbols(self, x: np.ndarray) -> Symbols:
        """uint8 (N, maps, positions) of counts uint8 (N, C, H, W), as the device computes them."""
        return self.code.symbols(reference.run(self.encoder, x.astype(np.int16)))

    def encode(self, x: Picture) -> bytes:
        """The whole code of one picture.

        Raises:
            CodecError: a picture of another shape.
        """
        if x.shape != self.encoder.input.shape:
            raise CodecError(f"a picture of {self.encoder.input.shape} is expected, got {x.shape}")
        return self.code.encode(self.symbols(x[None])[0])

    @property
    def input_of(self) -> Int8s:
        """int8 (C, 256): what the encoder reads for each count of a channel."""
        channels, height, width = self.encoder.input.shape
        counts = np.broadcast_to(
            np.arange(256, dtype=np.int16)[:, None, None, None], (256, channels, height, width)
        )
        found: Int8s = reference.quantize_input(self.encoder, counts)[:, 0, 0].T
        return found

    @property
    def parameters(self) -> int:
        """Weights and biases of the encoder, batch norm folded in."""
        layers = self.encoder.layers
        return sum(prod(layer.weight.shape) + len(layer.bias) for layer in layers)

    @property
    def table_bytes(self) -> int:
        """Of flash, for the input's table, alphabet and tables."""
        alphabet = self.code.alphabet.of_int8
        return self.code.tables.nbytes + alphabet.nbytes + self.input_of.nbytes
