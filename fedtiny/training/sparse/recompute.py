"""Which convolutions to run twice instead of keeping their outputs for the backward pass.

Sparse forward convolutions are a small part of a step, so memory is cheap to buy here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from fedtiny.engine import EngineOptions, Plan, plan
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Conv
from fedtiny.sparse.tensor import Mask


def recomputing_plans(
    graph: Graph,
    masks: Mapping[str, Mask],
    options: EngineOptions,
    quotas: Mapping[str, int] | None = None,
) -> Iterator[Plan]:
    """Training plans of ever smaller arenas: the first recomputes nothing, each next one more.

    Greedy, in graph order (the first layers' maps are the largest): a convolution is taken if the
    arena shrinks. One whose input is dropped too does not help, because its input would have to be
    computed again with it; the plan knows that. What a plan recomputes is in its layout. Each
    convolution tried costs a compilation, so stop at the first plan that fits.

    Args:
        graph: the model.
        masks: of the prunable layers, by name.
        options: of the engine, with nothing to recompute yet. Below an activation density of 1
            nothing ever is, because the whole inputs it would take are gone.
        quotas: gradients of absent weights to look for, by layer; the search is then planned for
            as well.

    >>> from fedtiny.models import build
    >>> graph = build("smartwatch_cnn", (6, 1, 128), 7)
    >>> masks = {l.name: Mask.full(l.weight_shape) for l in graph.prunable_layers}
    >>> [p.layout.options.recompute for p in recomputing_plans(graph, masks, EngineOptions(16))]
    [(), ('conv1',)]
    """
    smallest = plan(graph, masks, options, quotas)
    yield smallest
    if options.activation_density < 1:
        return
    for layer in graph.layers:
        if not isinstance(layer, Conv):
            continue
        more = replace(options, recompute=(*smallest.layout.options.recompute, layer.name))
        tried = plan(graph, masks, more, quotas)
        if tried.arena_bytes < smallest.arena_bytes:
            smallest = tried
            yield smallest
