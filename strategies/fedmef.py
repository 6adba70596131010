"""FedMef: weights about to be pruned hand on what they know first.

Huang et al., "FedMef: Towards Memory-efficient Federated Dynamic Pruning", CVPR 2024 (arXiv
2403.14737). Budget-aware extrusion: in a round that adjusts, devices add λ ‖θ_low‖² for the a_l
smallest weights of each layer and keep the learning rate at or above a falling floor
(:mod:`fedtiny.pruning.extrusion`); then they report their largest gradients and the server
exchanges weights as in FedTiny.

Scaled activation pruning: devices keep half of what they save for the backward pass, with batch
norm kept (:mod:`fedtiny.engine.activations` says exactly what). The half is the default of the
authors' library (github.com/FedPruning/FedPruning), which prunes the inputs of layers and keeps
batch norm too; the paper replaces it by convolutions with normalized weights, which would be
another network than the other methods train.

Also different: the start is the uniform magnitude mask of the pre-trained weights, not a random
one, and the server prunes what is smallest after averaging, not what was marked before training.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedtiny.aggregation.models import pooled_growth
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.schedule import PruningSchedule
from strategies.algorithm import Adjusted, RoundEnd, scheduled_quotas
from strategies.fixed_masks import MagnitudeMask
from strategies.progressive import exchange_weights


@dataclass(frozen=True)
class FedMef(MagnitudeMask):
    """Extrusion and activation pruning, from the uniform magnitude mask.

    Attributes:
        schedule: when masks are adjusted, and by how much.
    """

    schedule: PruningSchedule

    def quotas(self, round: int, graph: Graph, model: SparseModel) -> Mapping[str, int]:
        """See :meth:`strategies.algorithm.Algorithm.quotas`."""
        return scheduled_quotas(self.schedule, round, graph, model)

    def adjust(self, end: RoundEnd) -> Adjusted:
        """Grow the largest merged gradients, prune as many of the smallest weights."""
        return Adjusted(
            exchange_weights(self.schedule, end.round, end.model, pooled_growth(end.results))
        )
