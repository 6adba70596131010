"""Tensors between ops: their shapes, names, and the complaint when they do not fit.

Layouts, everywhere in this package unless a docstring says otherwise:

* activations are ``(N, C, H, W)``; a 1-D signal of length T is ``(N, C, 1, T)``;
* convolution weights are ``(out_channels, in_channels // groups, kernel_h, kernel_w)``;
* linear weights are ``(out_features, in_features)``, inputs flattened in C, H, W order.
"""

from fedtiny.errors import FedTinyError

Shape = tuple[int, int, int]
"""(C, H, W) of one sample."""

Pair = tuple[int, int]
"""(height, width)."""

Padding = Pair | tuple[int, int, int, int]
"""(height, width), the same on both sides; or (top, bottom, left, right)."""

INPUT = "input"
"""Name of the graph's input tensor."""


class GraphError(FedTinyError):
    """The nodes do not fit together; the message names the node."""


def at_least(smallest: int, node: str, **fields: int | tuple[int, ...]) -> None:
    """Raise GraphError that names the node and the first field with a number below ``smallest``."""
    for field, value in fields.items():
        if min(value if isinstance(value, tuple) else (value,)) < smallest:
            raise GraphError(f"node {node!r}: {field} must be at least {smallest}, not {value}")


def even(padding: Padding) -> Padding:
    """``padding`` by two numbers if they say it all: one spelling, one graph.

    >>> even((0, 0, 1, 1)), even((0, 1, 0, 1))
    ((0, 1), (0, 1, 0, 1))
    """
    if len(padding) == 4 and padding[:1] + padding[2:3] == padding[1:2] + padding[3:]:
        return (padding[0], padding[2])
    return padding


def sides(padding: Padding) -> tuple[Pair, Pair]:
    """((top, bottom), (left, right)).

    >>> sides((1, 2)), sides((0, 1, 2, 3))
    (((1, 1), (2, 2)), ((0, 1), (2, 3)))
    """
    if len(padding) == 2:
        return (padding[0], padding[0]), (padding[1], padding[1])
    return padding[:2], padding[2:]


def slid(shape: Shape, kernel: Pair, stride: Pair, padding: Padding) -> Pair:
    """(height, width) of the positions that a window takes over a padded map of ``shape``."""
    height, width = (
        (size + sum(pads) - window) // step + 1
        for size, pads, window, step in zip(shape[1:], sides(padding), kernel, stride, strict=True)
    )
    return height, width


def lifted(shape: tuple[int, ...]) -> Shape | None:
    """(C, H, W) of a sample of ``shape``: a series has height 1, features are channels.

    >>> lifted((3, 8, 9)), lifted((6, 128)), lifted((10,)), lifted((1, 2, 3, 4))
    ((3, 8, 9), (6, 1, 128), (10, 1, 1), None)
    """
    match shape:
        case (channels, height, width):
            return (channels, height, width)
        case (channels, time):
            return (channels, 1, time)
        case (features,):
            return (features, 1, 1)
    return None
