"""The networks that run on the device, in two sizes."""

from __future__ import annotations

from enum import StrEnum

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Conv, Shape

FEATURES = 12
"""Of PNC by default; its paper (Wang et al., RTSS 2023) has M = 10, larger ones."""


class Effort(StrEnum):
    """How much a device computes for a code."""

    LOW = "low"
    """Two convolutions, no pixel read twice by the first: fewer instructions than a JPEG file takes
    on the same core (docs/results/codecs.md)."""

    HIGH = "high"
    """Three convolutions, some thousand parameters, ten times as many products."""


def pnc_encoder(input_shape: Shape, features: int = FEATURES, effort: Effort = Effort.LOW) -> Graph:
    """PNC's encoder, at our scale: one map is one *feature*, the unit that is sent or not.

    The published one begins with 9×9 at stride 7 on 224×224 pictures.

    >>> pnc_encoder((1, 28, 28)).shapes["code"]
    (12, 4, 4)
    """
    return _encoder("pnc_encoder", input_shape, 6, features, Activation.RELU6, effort)


def vae_encoder(input_shape: Shape, channels: int, effort: Effort = Effort.LOW) -> Graph:
    """The encoder of a codec with a fixed rate: its ``channels`` maps are sent whole.

    >>> vae_encoder((1, 28, 28), 2, Effort.HIGH).shapes["code"]
    (2, 4, 4)
    """
    return _encoder("vae_encoder", input_shape, 8, channels, Activation.NONE, effort)


def _encoder(
    name: str, input_shape: Shape, width: int, maps: int, last: Activation, effort: Effort
) -> Graph:
    """To an eighth of the picture's height and width, rounded up.

    Args:
        width: maps of the first convolution at low effort.
    """
    channels = input_shape[0]
    if effort is Effort.LOW:
        body: tuple[Conv, ...] = (
            Conv("first", INPUT, channels, width, (4, 4), (4, 4), prunable=False),
        )
    else:
        width = 24
        body = (
            Conv("first", INPUT, channels, 16, (5, 5), (2, 2), (2, 2), prunable=False),
            Conv("second", "first", 16, width, (3, 3), (2, 2), (1, 1), prunable=False),
        )
    code = Conv("code", body[-1].name, width, maps, (3, 3), (2, 2), (1, 1),
                activation=last, prunable=False)  # fmt: skip
    return Graph(name, input_shape, (*body, code))
