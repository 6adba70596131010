"""Which convolutions to run twice instead of keeping their outputs for the backward pass.

Sparse forward convolutions are a small part of a step, so memory is cheap to buy here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fedtiny.engine import Plan, plan
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Conv
from fedtiny.sparse.tensor import Mask


def recomputing_plans(
    graph: Graph,
    masks: Mapping[str, Mask],
    micro_batch: int,
    *,
    quotas: Mapping[str, int] | None = None,
    threads: int = 1,
    activation_density: float = 1.0,
) -> Iterator[Plan]:
    """Training plans of ever smaller arenas: the first recomputes nothing, each next one more.

    Greedy, in graph order (the first layers' maps are the largest): a convolution is taken if the
    arena shrinks. One whose input is dropped too does not help, because its input would have to be
    computed again with it; the plan knows that. What a plan recomputes is in its layout. Each
    convolution tried costs a compilation, so stop at the first plan that fits.

    Args:
        graph: the model.
        masks: of the prunable layers, by name.
        micro_batch: samples per forward and backward pass.
        quotas: gradients of absent weights to look for, by layer; the search is then planned for
            as well.
        threads: that run the kernels.
        activation_density: part of the saved activations that is kept; below 1 nothing is
            recomputed, because the whole inputs it would take are gone.

    >>> from fedtiny.models import build
    >>> graph = build("smartwatch_cnn", (6, 1, 128), 7)
    >>> masks = {l.name: Mask.full(l.weight_shape) for l in graph.prunable_layers}
    >>> [sorted(p.layout.recompute) for p in recomputing_plans(graph, masks, micro_batch=16)]
    [[], ['conv1']]
    """
    smallest = plan(
        graph, masks, micro_batch, threads=threads, quotas=quotas,
        activation_density=activation_density,
    )  # fmt: skip
    yield smallest
    if activation_density < 1:
        return
    for layer in graph.layers:
        if not isinstance(layer, Conv):
            continue
        more = smallest.layout.recompute | {layer.name}
        tried = plan(graph, masks, micro_batch, threads=threads, recompute=more, quotas=quotas)
        if tried.arena_bytes < smallest.arena_bytes:
            smallest = tried
            yield smallest
