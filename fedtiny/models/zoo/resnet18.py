"""ResNet-18 in its CIFAR form: a 3×3 stem without max-pooling (He et al. 2016)."""

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Linear, Node, Pool, Shape


def resnet18(input_shape: Shape, classes: int, width: int = 64) -> Graph:
    """Stem and four stages of two residual blocks, ``width`` to 8·``width`` channels.

    At (3, 32, 32) and 10 classes it has the 11 173 962 parameters and the 555 422 720 MACs
    published for this form. The adjustment blocks are the stages.

    >>> graph = resnet18((3, 32, 32), 10)
    >>> graph.shapes["stage4.2.add"], len(graph.layers)
    ((512, 4, 4), 21)
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
    for stage in (1, 2, 3, 4):
        out_channels = width * 2 ** (stage - 1)
        for i in (1, 2):
            stride = 2 if stage > 1 and i == 1 else 1
            name = f"stage{stage}.{i}"
            nodes += _residual_block(
                name, f"stage{stage}", previous, in_channels, out_channels, stride
            )
            previous, in_channels = f"{name}.add", out_channels
    nodes.append(Pool("pool", previous))
    nodes.append(
        Linear("classifier", "pool", in_channels, classes, block="classifier", prunable=False)
    )
    return Graph("resnet18", input_shape, tuple(nodes))


def _residual_block(
    name: str, block: str, source: str, in_channels: int, out_channels: int, stride: int
) -> list[Node]:
    conv1, conv2 = f"{name}.conv1", f"{name}.conv2"
    kernel, padding, strides = (3, 3), (1, 1), (stride, stride)
    nodes: list[Node] = [
        Conv(conv1, source, in_channels, out_channels, kernel, strides, padding, block=block),
        Conv(
            conv2, conv1, out_channels, out_channels, kernel, (1, 1), padding,
            activation=Activation.NONE, block=block,
        ),
    ]  # fmt: skip
    shortcut = source
    if stride != 1 or in_channels != out_channels:
        shortcut = f"{name}.shortcut"
        nodes.append(
            Conv(
                shortcut, source, in_channels, out_channels, (1, 1), strides,
                activation=Activation.NONE, block=block,
            )
        )  # fmt: skip
    nodes.append(Add(f"{name}.add", conv2, shortcut))
    return nodes
