"""Models as layer graphs, and the registry that builds them by name."""

from collections.abc import Callable
from dataclasses import replace
from inspect import signature

from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Shape
from fedtiny.models.zoo.ds_cnn import ds_cnn
from fedtiny.models.zoo.mobilenet_v1 import mobilenet_v1
from fedtiny.models.zoo.resnet8 import resnet8
from fedtiny.models.zoo.resnet18 import resnet18
from fedtiny.models.zoo.smartwatch_cnn import smartwatch_cnn
from fedtiny.models.zoo.vgg11 import vgg11

Builder = Callable[..., Graph]
"""(input shape, classes) -> graph; with a third parameter ``width``, of any width."""

_REGISTRY: dict[str, Builder] = {
    "ds_cnn": ds_cnn,
    "mobilenet_v1": mobilenet_v1,
    "resnet8": resnet8,
    "resnet18": resnet18,
    "smartwatch_cnn": smartwatch_cnn,
    "vgg11": vgg11,
}


def register(name: str, builder: Builder) -> None:
    """Make ``builder`` available as ``model.name`` in configs.

    Raises:
        FedTinyError: the name is taken by another builder.
    """
    if _REGISTRY.get(name, builder) is not builder:
        raise FedTinyError(f"model {name!r} is already registered; choose another name")
    _REGISTRY[name] = builder


def build(name: str, input_shape: Shape, classes: int) -> Graph:
    """The graph of the registered model ``name``; ``name@width`` for one of another width.

    Raises:
        FedTinyError: no such model (the message lists those there are), or it has no width.

    >>> [build(name, (6, 1, 128), 7).layer("conv1").weight_shape[0]
    ...  for name in ("smartwatch_cnn", "smartwatch_cnn@5")]
    [32, 5]
    """
    base, at, width = name.partition("@")
    if base not in _REGISTRY:
        raise FedTinyError(f"unknown model {base!r}; known: {', '.join(sorted(_REGISTRY))}")
    builder = _REGISTRY[base]
    if not at:
        return builder(input_shape, classes)
    if not width.isdecimal() or int(width) < 1 or "width" not in signature(builder).parameters:
        raise FedTinyError(
            f"model {name!r}: write name@width with a positive integer, for a model whose builder "
            "takes a width"
        )
    return replace(builder(input_shape, classes, width=int(width)), name=name)


def is_registered(graph: Graph) -> bool:
    """Whether :func:`build` gives ``graph`` by its name.

    >>> is_registered(build("resnet8@4", (3, 32, 32), 10))
    True
    """
    known = graph.name.partition("@")[0] in _REGISTRY
    return known and build(graph.name, graph.input_shape, graph.classes) == graph


__all__ = [
    "Builder",
    "Graph",
    "build",
    "ds_cnn",
    "is_registered",
    "mobilenet_v1",
    "register",
    "resnet8",
    "resnet18",
    "smartwatch_cnn",
    "vgg11",
]
