"""1-D CNN for the smart-watch exercises: 2-D convolutions over maps of height 1."""

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Pool, Shape


def smartwatch_cnn(input_shape: Shape, classes: int, width: int = 32) -> Graph:
    """Four convolutions of 5 taps, the last three with stride 2, then pooling and a classifier.

    Args:
        input_shape: (C, 1, T), e.g. (6, 1, 128) for 128 samples of a 6-axis sensor.
        classes: number of logits.
        width: channels of the first convolution; later ones have 2× and 3×.

    >>> graph = smartwatch_cnn((6, 1, 128), 7)
    >>> graph.shapes["conv4"], graph.classes
    ((96, 1, 16), 7)
    """
    channels = (width, 2 * width, 2 * width, 3 * width)
    strides = (1, 2, 2, 2)
    nodes: list[Conv | Pool | Linear] = []
    previous, in_channels = INPUT, input_shape[0]
    for i, (out_channels, stride) in enumerate(zip(channels, strides, strict=True), start=1):
        name = f"conv{i}"
        nodes.append(
            Conv(
                name,
                previous,
                in_channels,
                out_channels,
                (1, 5),
                stride=(1, stride),
                padding=(0, 2),
                block=name,
                prunable=i > 1,
            )
        )
        previous, in_channels = name, out_channels
    nodes.append(Pool("pool", previous))
    nodes.append(
        Linear("classifier", "pool", in_channels, classes, block="classifier", prunable=False)
    )
    return Graph("smartwatch_cnn", input_shape, tuple(nodes))
