"""The networks that run on the device: two convolutions each."""

from __future__ import annotations

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Conv, Shape

FEATURES = 10
"""Of PNC (Wang et al., RTSS 2023): M."""


def pnc_encoder(input_shape: Shape, features: int = FEATURES) -> Graph:
    """PNC's encoder, at our scale: 5×5 at stride 2 → 16, 3×3 at stride 2 → ``features`` maps.

    The published one begins with 9×9 at stride 7 on 224×224 pictures. One map is one *feature*: the
    unit that is sent or not.

    >>> pnc_encoder((1, 28, 28)).shapes["code"]
    (10, 7, 7)
    """
    return _two_convolutions("pnc_encoder", input_shape, 16, features, Activation.RELU)


def vae_encoder(input_shape: Shape, channels: int, width: int = 16) -> Graph:
    """The encoder of a codec with a fixed rate: its ``channels`` maps are sent whole.

    >>> vae_encoder((1, 28, 28), 2).shapes["code"]
    (2, 7, 7)
    """
    return _two_convolutions("vae_encoder", input_shape, width, channels, Activation.NONE)


def _two_convolutions(
    name: str, input_shape: Shape, width: int, channels: int, last: Activation
) -> Graph:
    first = Conv("first", INPUT, input_shape[0], width, (5, 5), (2, 2), (2, 2), prunable=False)
    code = Conv("code", "first", width, channels, (3, 3), (2, 2), (1, 1),
                activation=last, prunable=False)  # fmt: skip
    return Graph(name, input_shape, (first, code))
