"""A trained encoder quantized, and its symbols counted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from fedtiny.codecs.device_half import DeviceHalf
from fedtiny.codecs.float_encoder import FloatEncoder
from fedtiny.codecs.folding import CELL, fold
from fedtiny.codecs.latent_code import Alphabet, LatentCode
from fedtiny.codecs.server.fitting import Pictures
from fedtiny.codecs.server.sparse_encoder import SparseEncoder
from fedtiny.data.statistics import Normalization
from fedtiny.models.ops import INPUT
from fedtiny.models.sparse_model import from_state
from fedtiny.quant import reference
from fedtiny.quant.tensors import Int8Tensor

_CALIBRATED = 500
_COUNTED = 2000
"""Training pictures that give ranges, and tables."""


def device_half(
    encoder: SparseEncoder, pictures: Pictures, alphabet: Callable[[Int8Tensor], Alphabet]
) -> DeviceHalf:
    """Quantize a trained encoder and count its symbols on training pictures.

    Args:
        encoder: trained.
        pictures: it was trained on.
        alphabet: made for the int8 output.
    """
    graph, state = encoder.graph, encoder.state()
    ranges = _ranges(encoder, pictures)
    model = from_state(graph, state, encoder.masks)
    trained = FloatEncoder(graph, model, folded(pictures.normalization), ranges)
    integer = trained.quantized()
    letters = alphabet(integer.output)
    shape = graph.shapes[graph.logits]
    counts = fold(pictures.data.x[:_COUNTED]).astype(np.int16)
    empty = LatentCode.fitted(shape, letters, np.zeros((0, shape[0], 1), np.int64))
    symbols = empty.symbols(reference.run(integer, counts))
    return DeviceHalf(integer, LatentCode.fitted(shape, letters, symbols), trained)


def folded(normalization: Normalization) -> Normalization:
    """Of folded pictures: every pixel of a cell as its channel."""
    mean, std = (np.tile(values, CELL) for values in (normalization.mean, normalization.std))
    return Normalization(mean, std)


def _ranges(encoder: SparseEncoder, pictures: Pictures) -> dict[str, tuple[float, float]]:
    """(smallest, largest) value of every tensor over training pictures."""
    x = pictures.cells[:_CALIBRATED]
    found = {INPUT: (float(x.min()), float(x.max()))}

    def observe(name: str, value: torch.Tensor) -> None:
        found[name] = (float(value.min()), float(value.max()))

    encoder.eval()
    with torch.no_grad():
        encoder(x, observe)
    return found
