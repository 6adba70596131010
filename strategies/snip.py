"""SNIP on the server's public samples: Lee et al., "SNIP: Single-shot network pruning", ICLR 2019.

s_j = |g_j θ_j| / Σ|g θ| on one batch, the largest of all layers together are kept. As in
FedTiny's comparison the batch is the server's public set: clients' data is SSFL's business
(:mod:`strategies.ssfl`). The paper scores random initial weights; here, as for every method, the
weights are pre-trained unless ``pretraining.epochs = 0``.
"""

from __future__ import annotations

import numpy as np

from fedtiny.data.samples import Samples
from fedtiny.models.sparse_model import from_state
from fedtiny.pruning.masks import global_masks
from fedtiny.pruning.saliency import connection_saliency
from fedtiny.sparse.densities import weight_budget
from fedtiny.sparse.tensor import Mask
from fedtiny.training.choice import dense_engine
from strategies.algorithm import Start
from strategies.fixed_masks import FixedMask, Masks, layer_sizes


class Snip(FixedMask):
    """The fixed mask of the largest connection saliencies."""

    def masks(self, start: Start) -> Masks:
        """See :class:`strategies.fixed_masks.FixedMask`."""
        full = {name: Mask.full(weight.shape) for name, weight in start.weights.items()}
        model = from_state(start.graph, start.state, full)
        trainer = dense_engine().evaluator(start.graph, model)
        batch = Samples(start.public, start.normalization).batch(np.arange(len(start.public)))
        scores = connection_saliency(model, trainer.gradients(*batch))
        return global_masks(scores, weight_budget(layer_sizes(start), self.pruning.density))
