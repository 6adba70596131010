"""MobileNetV1-0.25, the visual-wake-words network of MLPerf Tiny (Howard et al. 2017)."""

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Node, Pool, Shape

_BLOCKS = (
    (2, 1), (4, 2), (4, 1), (8, 2), (8, 1), (16, 2),
    (16, 1), (16, 1), (16, 1), (16, 1), (16, 1), (32, 2), (32, 1),
)  # fmt: skip
"""(output channels in stem widths, stride) of each depthwise-separable block."""


def mobilenet_v1(input_shape: Shape, classes: int, width: int = 8) -> Graph:
    """A 3×3 stem with stride 2 and thirteen depthwise-separable blocks; ``width=8`` is α = 0.25.

    At (3, 96, 96) and 2 classes it has 213 586 parameters and the 7 489 664 MACs of the published
    model. The published 221 794 also count 2 736 convolution biases (redundant before a batch
    norm) and 5 472 running statistics. Strided layers pad both sides alike where the published
    model pads the far side only; the maps have the same size.

    >>> graph = mobilenet_v1((3, 96, 96), 2)
    >>> graph.shapes["separable13.pointwise"], len(graph.layers)
    ((256, 3, 3), 28)
    """
    nodes: list[Node] = [
        Conv(
            "stem",
            INPUT,
            input_shape[0],
            width,
            (3, 3),
            (2, 2),
            (1, 1),
            block="stem",
            prunable=False,
        )
    ]
    previous, in_channels = "stem", width
    for i, (factor, stride) in enumerate(_BLOCKS, start=1):
        block, channels = f"separable{i}", factor * width
        depthwise, pointwise = f"{block}.depthwise", f"{block}.pointwise"
        nodes.append(
            Conv(
                depthwise, previous, in_channels, in_channels, (3, 3), (stride, stride), (1, 1),
                groups=in_channels, block=block,
            )
        )  # fmt: skip
        nodes.append(Conv(pointwise, depthwise, in_channels, channels, (1, 1), block=block))
        previous, in_channels = pointwise, channels
    nodes.append(Pool("pool", previous))
    nodes.append(
        Linear("classifier", "pool", in_channels, classes, block="classifier", prunable=False)
    )
    return Graph("mobilenet_v1", input_shape, tuple(nodes))
