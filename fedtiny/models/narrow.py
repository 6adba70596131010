"""A dense network made so narrow that it costs no more bytes than a sparse one."""

from __future__ import annotations

from math import prod

from fedtiny import models
from fedtiny.errors import FedTinyError
from fedtiny.models.cost import parameter_count, statistics_count
from fedtiny.models.graph import Graph
from fedtiny.sparse.densities import layer_counts, uniform

FLOAT_BYTES = 4


def value_bytes(graph: Graph, density: float = 1.0) -> int:
    """Bytes of the values of a model whose prunable layers have ``density``, without indices.

    Biases, batch norms with their statistics, and the end layers count in full: it is what a
    device sends up in a round.

    >>> from fedtiny.models.zoo.smartwatch_cnn import smartwatch_cnn
    >>> graph = smartwatch_cnn((6, 1, 128), 7)
    >>> value_bytes(graph), value_bytes(graph, 0.05)
    (256412, 22940)
    """
    sizes = {layer.name: prod(layer.weight_shape) for layer in graph.prunable_layers}
    kept = sum(layer_counts(uniform(sizes, density), sizes).values())
    absent = sum(sizes.values()) - kept
    return FLOAT_BYTES * (parameter_count(graph) + statistics_count(graph) - absent)


def narrow(graph: Graph, density: float) -> Graph:
    """The widest form of ``graph`` whose values take no more bytes than ``graph`` at ``density``.

    The rival that sparse training must beat: the same bytes, every multiplication useful. The
    masks that a sparse model also sends down are not granted to it.

    Args:
        graph: as :func:`fedtiny.models.build` made it.
        density: nnz / prunable weights of the sparse model to match, in (0, 1].

    Raises:
        FedTinyError: one channel is too wide already, or the model has no width.

    >>> from fedtiny.models.zoo.resnet8 import resnet8
    >>> found = narrow(resnet8((1, 28, 28), 10), 0.05)
    >>> found.name, value_bytes(found) <= value_bytes(resnet8((1, 28, 28), 10), 0.05)
    ('resnet8@4', True)
    """
    base = graph.name.partition("@")[0]
    if not models.is_registered(graph):
        raise FedTinyError(
            f"{graph.name} has no narrow form: only a registered model whose builder takes a width "
            "has (fedtiny.models.register)"
        )
    budget, found, width = value_bytes(graph, density), None, 1
    while True:
        candidate = models.build(f"{base}@{width}", graph.input_shape, graph.classes)
        if value_bytes(candidate) > budget:
            break
        found, width = candidate, width + 1
    if found is None:
        raise FedTinyError(
            f"one channel of {base} takes {value_bytes(candidate):,} B, a sparse one of density "
            f"{density:g} only {budget:,} B; raise pruning.density or choose another method"
        )
    return found
