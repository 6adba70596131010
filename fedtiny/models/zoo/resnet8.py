"""ResNet-8, the image-classification network of MLPerf Tiny (Banbury et al. 2021)."""

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Linear, Node, Pool, Shape


def resnet8(input_shape: Shape, classes: int, width: int = 16) -> Graph:
    """Stem and three residual stages of width, 2·width and 4·width channels.

    At (3, 32, 32) and 10 classes it has the 77 370 convolution and classifier parameters and the
    12 501 632 MACs of the published model. The published total of 78 666 also counts convolution
    biases (redundant before a batch norm) and running statistics, and puts no batch norm on the
    shortcuts; here they have one, as in He et al. 2016.

    >>> graph = resnet8((1, 28, 28), 10)
    >>> graph.shapes["stage3.add"], graph.classes
    ((64, 7, 7), 10)
    """
    nodes: list[Node] = [
        Conv(
            "stem",
            INPUT,
            input_shape[0],
            width,
            (3, 3),
            padding=(1, 1),
            block="stem",
            prunable=False,
        )
    ]
    previous, in_channels = "stem", width
    for stage in (1, 2, 3):
        out_channels = width * 2 ** (stage - 1)
        nodes += _stage(f"stage{stage}", previous, in_channels, out_channels)
        previous, in_channels = f"stage{stage}.add", out_channels
    nodes.append(Pool("pool", previous))
    nodes.append(
        Linear("classifier", "pool", in_channels, classes, block="classifier", prunable=False)
    )
    return Graph("resnet8", input_shape, tuple(nodes))


def _stage(name: str, source: str, in_channels: int, out_channels: int) -> list[Node]:
    stride = (1, 1) if in_channels == out_channels else (2, 2)
    nodes: list[Node] = [
        Conv(
            f"{name}.conv1",
            source,
            in_channels,
            out_channels,
            (3, 3),
            stride=stride,
            padding=(1, 1),
            block=name,
        ),
        Conv(
            f"{name}.conv2",
            f"{name}.conv1",
            out_channels,
            out_channels,
            (3, 3),
            padding=(1, 1),
            activation=Activation.NONE,
            block=name,
        ),
    ]
    shortcut = source
    if in_channels != out_channels:
        shortcut = f"{name}.shortcut"
        nodes.append(
            Conv(
                shortcut,
                source,
                in_channels,
                out_channels,
                (1, 1),
                stride=stride,
                activation=Activation.NONE,
                block=name,
            )
        )
    nodes.append(Add(f"{name}.add", f"{name}.conv2", shortcut))
    return nodes
