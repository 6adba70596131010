"""Which shape suits a federation best: each is trained a little, devices compare, the best stays.

Freshly pruned networks are all near chance, and their losses say nothing. So the server first
trains every shape on its public samples under the masks it will have, devices measure the losses
on their development samples, and of all shapes that are as good as the best within the noise of
that measurement the narrowest is taken: it has as many weights and needs less memory (the rule of
one standard error: Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from fedtiny.data.samples import Samples
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.pruning.candidates import CandidatePool
from fedtiny.seeding import rng
from fedtiny.sparse.order import magnitude_order
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.tiers.block import Block
from fedtiny.tiers.rings import Rings
from fedtiny.tiers.tier import Tier
from fedtiny.training.config import PretrainingConfig
from fedtiny.training.pretraining import fit, pretrain
from fedtiny.training.trainer import SgdConfig


@dataclass(frozen=True, slots=True, eq=False)
class Contender:
    """One shape, trained on public samples.

    Attributes:
        tier: width and density.
        block: where it lies in the model.
        state: dense parameters and statistics by name, before its weights were pruned.
        accuracy: of ``state`` on the public samples, in [0, 1].
        model: pruned, and trained on under its masks.
    """

    tier: Tier
    block: Block
    state: Mapping[str, Floats]
    accuracy: float
    model: SparseModel

    @property
    def pool(self) -> CandidatePool:
        """The model as the only candidate of a pool: how devices are asked for its loss."""
        return CandidatePool.of(self.model.weights)


@dataclass(frozen=True, slots=True)
class Training:
    """How contenders are trained.

    Attributes:
        pretraining: dense, as every run's.
        epochs: under the masks.
        momentum, weight_decay: of SGD, as for the devices.
        seed: of the run; all contenders see the same batches.
    """

    pretraining: PretrainingConfig
    epochs: int
    momentum: float
    weight_decay: float
    seed: int

    def contender(
        self,
        tier: Tier,
        block: Block,
        density: float,
        public: Samples,
        initial: Mapping[str, Floats] | None = None,
    ) -> Contender:
        """Train one.

        Args:
            tier, block: the shape.
            density: of the whole model: every layer keeps that many of its weights, in the block.
            public: the server's samples, normalised.
            initial: dense parameters and statistics of the whole model by name, of which the shape
                is cut to begin with, instead of random ones.
        """
        graph = block.graph
        if initial is not None:
            initial = {name: block.axes[name].cut(array) for name, array in initial.items()}
        state, accuracy = pretrain(
            self.pretraining,
            graph,
            public,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            seed=self.seed,
            initial=initial,
        )
        masks = _masks(state, block, density, tier)
        model = from_state(graph, state, masks)
        sgd = SgdConfig(self.pretraining.learning_rate, self.momentum, self.weight_decay)
        generator = rng(self.seed, "contest")
        batch = self.pretraining.batch_size
        trained = fit(graph, model, public, sgd, batch, self.epochs, generator).model()
        return Contender(tier, block, state, accuracy, trained)


def _masks(
    state: Mapping[str, Floats], block: Block, density: float, tier: Tier
) -> dict[str, Mask]:
    """The largest weights of every layer of a block, as many as the model has at ``density``."""
    rings, masks = Rings(block.of, (tier.width,), 0.0), {}  # of one ring: no slope between rings
    for layer in block.graph.prunable_layers:
        weight = state[ParameterKind.WEIGHT.of(layer.name)]
        (count,) = rings.counts(layer.name, density)
        indices = np.sort(magnitude_order(weight)[:count]).astype(np.int32)
        masks[layer.name] = Mask(weight.shape, indices)
    return masks
