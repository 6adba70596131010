"""SNIP on the server's public samples: Lee et al., "SNIP: Single-shot network pruning", ICLR 2019.

s_j = |g_j θ_j| / Σ|g θ| on one batch, the largest of all layers together are kept. As in
FedTiny's comparison the batch is the server's public set: clients' data is SSFL's business
(:mod:`fedtiny.methods.ssfl`). The paper scores random initial weights; here, as for every method,
they are pre-trained unless ``pretraining.epochs = 0``.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from typing_extensions import override

from fedtiny.data.samples import Samples
from fedtiny.methods.fixed_masks import FixedMask, Masks
from fedtiny.methods.method import Start
from fedtiny.models.sparse_model import from_state
from fedtiny.pruning.masks import global_masks
from fedtiny.pruning.saliency import connection_saliency
from fedtiny.sparse.tensor import Mask


class Snip(FixedMask):
    """The fixed mask of the largest connection saliencies."""

    name: ClassVar[str] = "snip"

    @override
    def masks(self, start: Start) -> Masks:
        full = {name: Mask.full(weight.shape) for name, weight in start.weights.items()}
        model = from_state(start.graph, start.state, full)
        trainer = start.dense_trainer(model)
        batch = Samples(start.public, start.normalization).batch(np.arange(len(start.public)))
        scores = connection_saliency(model, trainer.gradients(*batch))
        return global_masks(scores, self.budget(start))
