"""DS-CNN, the keyword-spotting network of MLPerf Tiny (Banbury et al. 2021)."""

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Node, Pool, Shape


def ds_cnn(input_shape: Shape, classes: int, width: int = 64) -> Graph:
    """A 10×4 stem with stride 2 and four depthwise-separable blocks, all ``width`` wide.

    Args:
        input_shape: (1, 49, 10): 49 frames of 10 cepstral coefficients.
        classes: number of logits, 12 in the published model.
        width: channels everywhere.

    At (1, 49, 10) and 12 classes it has 23 180 parameters and the 2 656 768 MACs of the published
    model. The published 24 908 also count 576 convolution biases (redundant before a batch norm)
    and 1 152 running statistics. The stem pads both sides alike where the published model pads
    one row less at the top; the maps have the same size.

    >>> graph = ds_cnn((1, 49, 10), 12)
    >>> graph.shapes["stem"], graph.shapes["separable4.pointwise"]
    ((64, 25, 5), (64, 25, 5))
    """
    nodes: list[Node] = [
        Conv(
            "stem",
            INPUT,
            input_shape[0],
            width,
            (10, 4),
            (2, 2),
            (5, 1),
            block="stem",
            prunable=False,
        )
    ]
    previous = "stem"
    for i in (1, 2, 3, 4):
        block = f"separable{i}"
        depthwise, pointwise = f"{block}.depthwise", f"{block}.pointwise"
        nodes.append(
            Conv(
                depthwise, previous, width, width, (3, 3), padding=(1, 1), groups=width,
                block=block,
            )
        )  # fmt: skip
        nodes.append(Conv(pointwise, depthwise, width, width, (1, 1), block=block))
        previous = pointwise
    nodes.append(Pool("pool", previous))
    nodes.append(Linear("classifier", "pool", width, classes, block="classifier", prunable=False))
    return Graph("ds_cnn", input_shape, tuple(nodes))
