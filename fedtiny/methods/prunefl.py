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
from typing import ClassVar

import numpy as np
from typing_extensions import override

from fedtiny.aggregation.mean import weighted_mean
from fedtiny.methods.device import DeviceHalf, Masks, Quotas, Read
from fedtiny.methods.fixed_masks import MagnitudeMask
from fedtiny.methods.method import Adjusted, RoundEnd
from fedtiny.models.cost import layer_costs
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.reconfigure import TimeCost, reconfigure
from fedtiny.pruning.schedule import PruningSchedule
from fedtiny.sparse.densities import weight_budget
from fedtiny.sparse.tensor import Floats, Indices
from fedtiny.training.local import LocalUpdate
from fedtiny.training.trainer import Growth, Labels, Trainer
from fedtiny.wire.packet import Array, Packet
from fedtiny.wire.per_weight import per_weight_array, read_per_weight


class Squares(DeviceHalf):
    """Sends the square of every gradient, of present and absent weights."""

    sends: ClassVar[Mapping[str, str]] = {
        "squared_gradients": "square of every weight's gradient, averaged over one batch",
    }

    @override
    def largest_request(self, schedule: PruningSchedule, graph: Graph, masks: Masks) -> Quotas:
        return _absent(masks)

    @override
    def finish(self, trainer: Trainer, x: Floats, y: Labels, quotas: Quotas) -> Growth:
        absent = trainer.growth(x, y, quotas)
        present = trainer.gradients(x, y)
        return _squares(trainer.model(), present, absent)

    @override
    def pack(self, graph: Graph, update: LocalUpdate) -> dict[str, Array]:
        squares = {name: values for name, (_, values) in update.found.items()}
        return {"squared_gradients": per_weight_array(graph, squares)}

    @override
    def read(self, graph: Graph, masks: Masks, quotas: Quotas, packet: Packet) -> Read:
        squares = read_per_weight(graph, "squared_gradients", packet)
        return Read(masks, {name: _everywhere(one.reshape(-1)) for name, one in squares.items()})


@dataclass(frozen=True)
class PruneFl(MagnitudeMask):
    """The method of the paper at a bounded density, from the uniform magnitude mask."""

    name: ClassVar[str] = "prunefl"
    tiered: ClassVar[bool] = False
    adjusts: ClassVar[bool] = True
    device_type: ClassVar[type[DeviceHalf]] = Squares
    one_shot: ClassVar[bool] = False

    @override
    def quotas(self, round: int, graph: Graph, model: SparseModel) -> Mapping[str, int]:
        """In a round that adjusts, all absent weights are asked about."""
        return _absent(model.masks) if self.scheduled_quotas(round, graph, model) else {}

    @override
    def adjust(self, end: RoundEnd) -> Adjusted:
        """Add this round's squares to the sum of all; choose masks by it."""
        if not end.results[0].found:
            return Adjusted(end.model, end.memory)
        squares = _mean_squares(end)
        for name, earlier in end.memory.items():
            squares[name] = squares[name] + earlier
        sizes = {name: mask.size for name, mask in end.model.masks.items()}
        weights = reconfigure(
            end.model.weights,
            squares,
            self.scheduled_quotas(end.round, end.graph, end.model),
            time_cost(end.graph),
            weight_budget(sizes, self.settings.density),
        )
        return Adjusted(SparseModel(weights, end.model.dense), squares)


def _absent(masks: Masks) -> dict[str, int]:
    """Absent weights by layer, where there are any."""
    return {name: mask.size - mask.nnz for name, mask in masks.items() if mask.nnz < mask.size}


def _squares(model: SparseModel, present: Mapping[str, Floats], absent: Growth) -> Growth:
    """g² of every prunable weight."""
    squares = {}
    for name, weight in model.weights.items():
        flat = np.zeros(weight.mask.size, np.float32)
        flat[weight.mask.indices] = present[name] ** 2
        if name in absent:
            positions, gradient = absent[name]
            flat[positions] = gradient**2
        squares[name] = _everywhere(flat)
    return squares


def _everywhere(values: Floats) -> tuple[Indices, Floats]:
    """A number at every position."""
    return np.arange(values.size, dtype=np.int32), values


def _mean_squares(end: RoundEnd) -> dict[str, Floats]:
    """Σ_k (|D_k|/|D|) g_k² by layer, in weight layout."""
    counts = [result.count for result in end.results]
    return {
        name: weighted_mean([result.found[name][1] for result in end.results], counts).reshape(
            weight.shape
        )
        for name, weight in end.model.weights.items()
    }


def time_cost(graph: Graph) -> TimeCost:
    """Multiply-accumulates as a stand-in for seconds: per weight, and of layers never pruned."""
    costs = {cost.name: cost for cost in layer_costs(graph)}
    prunable = {layer.name for layer in graph.prunable_layers}
    constant = sum(cost.macs for name, cost in costs.items() if name not in prunable)
    per_weight = {name: costs[name].macs / costs[name].weights for name in prunable}
    return TimeCost(constant, per_weight)
