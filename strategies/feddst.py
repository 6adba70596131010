"""FedDST: devices change their masks, the server makes them one again.

Bibikar et al., "Federated Dynamic Sparse Training: Computing Less, Communicating Less, Yet Learning
Better", AAAI 2022 (arXiv 2112.09824), Algorithm 1. In a round that adjusts, halfway through its
steps, every device prunes its a_l smallest |θ| and grows its a_l largest gradients (RigL), goes on
training, and sends its mask with its values. The server averages every weight over the devices that
have it and prunes each layer back to its number of weights by magnitude.

Different from the paper: the layers start from Erdős-Rényi-kernel densities as there, but keep the
largest pre-trained weights; devices adjust after half of their steps, not
after a set epoch; and a_l follows the cosine that all methods of a run share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fedtiny.aggregation.models import average_dense
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.bn_selection import BnPooling
from fedtiny.pruning.regrowth import keep_largest, sparse_mean
from fedtiny.pruning.schedule import PruningSchedule
from fedtiny.wire.results import TrainResult
from strategies.algorithm import scheduled_quotas
from strategies.fixed_masks import ErkMask


@dataclass(frozen=True)
class FedDst(ErkMask):
    """The method of the paper, from the ERK magnitude mask.

    Attributes:
        schedule: when masks are adjusted, and by how much.
    """

    schedule: PruningSchedule

    def quotas(self, round: int, graph: Graph, model: SparseModel) -> Mapping[str, int]:
        """See :meth:`strategies.algorithm.Algorithm.quotas`."""
        return scheduled_quotas(self.schedule, round, graph, model)

    def combine(
        self, graph: Graph, results: Sequence[TrainResult], pooling: BnPooling
    ) -> SparseModel:
        """Average per weight over its holders, then keep as many as were sent."""
        counts = [result.count for result in results]
        weights = {
            name: keep_largest(
                sparse_mean([result.model.weights[name] for result in results], counts), sent.nnz
            )
            for name, sent in results[0].model.weights.items()
        }
        return SparseModel(weights, average_dense(graph, results, pooling))
