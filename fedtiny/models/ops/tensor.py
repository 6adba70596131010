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

INPUT = "input"
"""Name of the graph's input tensor."""


class GraphError(FedTinyError):
    """The nodes do not fit together; the message names the node."""


def at_least(smallest: int, node: str, **fields: int | Pair) -> None:
    """Raise GraphError that names the node and the first field with a number below ``smallest``."""
    for field, value in fields.items():
        if min(value if isinstance(value, tuple) else (value,)) < smallest:
            raise GraphError(f"node {node!r}: {field} must be at least {smallest}, not {value}")


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
