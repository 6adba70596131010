"""A trained encoder as the device has it: int8, its maps' alphabet, and tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fedtiny.codecs.codec import Picture
from fedtiny.codecs.errors import CodecError
from fedtiny.codecs.float_encoder import FloatEncoder
from fedtiny.codecs.folding import fold, picture_shape
from fedtiny.codecs.latent_code import LatentCode, Symbols
from fedtiny.models.ops import Shape
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
        return self.code.symbols(self.latents(x))

    def latents(self, x: np.ndarray) -> Int8s:
        """int8 (N, positions·maps) of counts uint8 (N, C, H, W): the encoder's output."""
        found: Int8s = reference.run(self.encoder, fold(x).astype(np.int16))
        return found

    def encode(self, x: Picture) -> bytes:
        """The whole code of one picture.

        Raises:
            CodecError: a picture of another shape.
        """
        if x.shape != self.picture:
            raise CodecError(f"a picture of {self.picture} is expected, got {x.shape}")
        return self.code.encode(self.symbols(x[None])[0])

    @property
    def picture(self) -> Shape:
        """(C, H, W) that it encodes."""
        return picture_shape(self.encoder.input.shape)

    @property
    def input_of(self) -> Int8s:
        """int8 (C, 256): what the encoder reads for each count of a picture's channel."""
        counts = np.arange(256, dtype=np.int16)[:, None, None, None]
        shape = (256, *self.encoder.input.shape)
        values = reference.quantize_input(self.encoder, np.broadcast_to(counts, shape))
        found: Int8s = values[:, 0, 0, : self.picture[0]].T
        return found

    @property
    def parameters(self) -> int:
        """Weights that are not 0, and biases, batch norm folded in."""
        return sum(layer.weight.nnz + len(layer.bias) for layer in self.encoder.layers)

    @property
    def table_bytes(self) -> int:
        """Of flash, for the input's table, alphabet and tables."""
        alphabet = self.code.alphabet.of_int8
        return self.code.tables.nbytes + alphabet.nbytes + self.input_of.nbytes
