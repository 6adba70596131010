"""The networks that run on the device: a convolution within cells, a sparse one over them."""

from __future__ import annotations

from fedtiny.codecs.folding import folded_shape
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Conv, Shape

FEATURES = 16
"""Of PNC by default; its paper (Wang et al., RTSS 2023) has M = 10, larger ones."""
WIDTH = 16
"""Maps of the first convolution."""
PNC_KEPT, VAE_KEPT = 400, 700
"""Weights of the second that training leaves, whatever its maps: with them a picture takes fewer
instructions on a Cortex-M4 than by libjpeg-turbo (docs/results/codecs.md). PNC's codes are longer,
and coding them costs what the others' weights do."""


def pnc_encoder(picture: Shape, features: int = FEATURES) -> Graph:
    """PNC's encoder, at our scale: one map is one *feature*, the unit that is sent or not.

    The published one begins with 9×9 at stride 7 on 224×224 pictures.

    Args:
        picture: (C, H, W), H and W multiples of 4; the graph's input is that, folded.
        features: maps of its output.

    >>> pnc_encoder((1, 28, 28)).shapes["code"]
    (16, 4, 4)
    """
    return _encoder("pnc_encoder", picture, features, Activation.RELU6)


def vae_encoder(picture: Shape, channels: int) -> Graph:
    """The encoder of a codec with a fixed rate: its ``channels`` maps are sent whole.

    >>> vae_encoder((1, 28, 28), 2).shapes["code"]
    (2, 4, 4)
    """
    return _encoder("vae_encoder", picture, channels, Activation.NONE)


def _encoder(name: str, picture: Shape, maps: int, last: Activation) -> Graph:
    """To an eighth of the picture's height and width, rounded up."""
    folded = folded_shape(picture)
    first = Conv("first", INPUT, folded[0], WIDTH, (1, 1), prunable=False)
    code = Conv("code", "first", WIDTH, maps, (3, 3), (2, 2), (1, 1), activation=last)
    return Graph(name, folded, (first, code))
