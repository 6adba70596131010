"""PruneFL: masks by squared gradient per unit of time.

Jiang et al., "Model Pruning Enables Efficient Federated Learning on Edge Devices", TNNLS 2022
(arXiv 1909.12326), Algorithm 1. In a round that adjusts, every device sends the square of every
gradient, those of absent weights included: a dense array, and counted as one. The server adds up
Σ_k (|D_k|/|D|) g_k² and chooses the masks that maximize Σ g² / (c + Σ t)
(:func:`fedtiny.pruning.reconfigure.reconfigure`).

Different from the paper: t is a weight's multiply-accumulates and c those of the layers that are
never pruned, not seconds measured on a Raspberry Pi; a device squares the gradient of its last
batch, not of every one since the last adjustment, so that its memory and its FLOPs stay those of
the other methods, and the server never forgets instead; the first mask is the server's, not one
client's; the layers that are never pruned do not count in Σ g²; and nnz never exceeds the budget,
below which it may fall.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedtiny.models.cost import layer_costs
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.reconfigure import TimeCost, reconfigure
from fedtiny.pruning.saliency import mean_scores
from fedtiny.pruning.schedule import PruningSchedule
from fedtiny.sparse.densities import weight_budget
from strategies.algorithm import Adjusted, RoundEnd, scheduled_quotas
from strategies.fixed_masks import MagnitudeMask


@dataclass(frozen=True)
class PruneFl(MagnitudeMask):
    """The method of the paper at a bounded density, from the uniform magnitude mask.

    Attributes:
        schedule: when masks are adjusted, and how many of the smallest weights may go.
    """

    schedule: PruningSchedule

    def quotas(self, round: int, graph: Graph, model: SparseModel) -> Mapping[str, int]:
        """See :meth:`strategies.algorithm.Algorithm.quotas`: all absent weights are asked about."""
        if not scheduled_quotas(self.schedule, round, graph, model):
            return {}
        masks = model.masks
        return {name: mask.size - mask.nnz for name, mask in masks.items() if mask.nnz < mask.size}

    def adjust(self, end: RoundEnd) -> Adjusted:
        """Add this round's squares to the sum of all; choose masks by it."""
        if not end.results[0].squares:
            return Adjusted(end.model, end.memory)
        counts = [result.count for result in end.results]
        squares = mean_scores([result.squares for result in end.results], counts)
        for name, earlier in end.memory.items():
            squares[name] = squares[name] + earlier
        sizes = {name: mask.size for name, mask in end.model.masks.items()}
        weights = reconfigure(
            end.model.weights,
            squares,
            scheduled_quotas(self.schedule, end.round, end.graph, end.model),
            time_cost(end.graph),
            weight_budget(sizes, self.pruning.density),
        )
        return Adjusted(SparseModel(weights, end.model.dense), squares)


def time_cost(graph: Graph) -> TimeCost:
    """Multiply-accumulates as a stand-in for seconds: per weight, and of layers never pruned."""
    costs = {cost.name: cost for cost in layer_costs(graph)}
    prunable = {layer.name for layer in graph.prunable_layers}
    constant = sum(cost.macs for name, cost in costs.items() if name not in prunable)
    per_weight = {name: costs[name].macs / costs[name].weights for name in prunable}
    return TimeCost(constant, per_weight)
