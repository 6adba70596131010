"""VGG-11 with batch norm in its CIFAR form: a single classifier (Simonyan & Zisserman 2015)."""

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Node, Pool, Shape

_STAGES = ((1,), (2,), (4, 4), (8, 8), (8, 8))
"""Channels of each stage's convolutions, in widths; a 2×2 max-pooling ends every stage."""


def vgg11(input_shape: Shape, classes: int, width: int = 64) -> Graph:
    """Eight 3×3 convolutions in five stages, each stage halving the map, and one classifier.

    At (3, 32, 32) and 10 classes it has 9 228 362 parameters and 152 769 536 MACs. The published
    9 231 114 also counts the 2 752 convolution biases, redundant before a batch norm.

    >>> graph = vgg11((3, 32, 32), 10)
    >>> graph.shapes["stage5.pool"], len(graph.layers)
    ((512, 1, 1), 9)
    """
    nodes: list[Node] = []
    previous, in_channels = INPUT, input_shape[0]
    for stage, widths in enumerate(_STAGES, start=1):
        block = f"stage{stage}"
        for i, factor in enumerate(widths, start=1):
            name, channels = f"{block}.conv{i}", factor * width
            nodes.append(
                Conv(
                    name, previous, in_channels, channels, (3, 3), padding=(1, 1), block=block,
                    prunable=previous != INPUT,
                )
            )  # fmt: skip
            previous, in_channels = name, channels
        nodes.append(Pool(f"{block}.pool", previous, "max", (2, 2)))
        previous = f"{block}.pool"
    features = in_channels * (input_shape[1] // 32) * (input_shape[2] // 32)
    nodes.append(
        Linear("classifier", previous, features, classes, block="classifier", prunable=False)
    )
    return Graph("vgg11", input_shape, tuple(nodes))
