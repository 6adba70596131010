"""FedRTS: masks sampled from what the devices voted for so far.

Huang et al., "FedRTS: Federated Robust Pruning via Combinatorial Thompson Sampling", NeurIPS 2025
(arXiv 2501.19122). Every weight has a posterior Beta(α, β) that it should be present
(:mod:`fedtiny.pruning.thompson`). Each round up to R_stop present weights are observed: whether
they are among the κ = nnz_l − a_l largest of the averaged and of each device's model. In a round
that adjusts devices also send the positions of their a_l largest gradients, absent weights are
observed, and each layer's mask becomes the nnz_l largest of one posterior sample. The rules and
their constants are those of the authors' library (github.com/FedPruning/FedPruning); equation
numbers not checked.

Different from the paper: Erdős-Rényi-kernel densities as there, but the first mask keeps the
largest pre-trained weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from typing_extensions import override

from fedtiny.methods.device import (
    DeviceHalf,
    Masks,
    Quotas,
    Read,
    growth_indices,
    read_growth_masks,
    with_values,
)
from fedtiny.methods.fixed_masks import ErkMask
from fedtiny.methods.method import Adjusted, RoundEnd
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.thompson import Posterior, absent_outcomes, present_outcomes
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Floats, SparseTensor
from fedtiny.training.local import LocalUpdate
from fedtiny.wire.packet import Array, Packet


class Vote(DeviceHalf):
    """Sends the positions of its largest gradients, not their values: each is one vote."""

    sends: ClassVar[Mapping[str, str]] = {
        "growth_indices": "positions of its largest gradients among absent weights",
    }

    @override
    def pack(self, graph: Graph, update: LocalUpdate) -> dict[str, Array]:
        return {"growth_indices": growth_indices(graph, update.found)} if update.found else {}

    @override
    def read(self, graph: Graph, masks: Masks, quotas: Quotas, packet: Packet) -> Read:
        reported = read_growth_masks(graph, masks, quotas, packet)
        votes = {name: np.ones(mask.nnz, np.float32) for name, mask in reported.items()}
        return Read(masks, with_values(reported, votes))


@dataclass(frozen=True)
class FedRts(ErkMask):
    """The method of the paper, from the ERK magnitude mask."""

    name: ClassVar[str] = "fedrts"
    tiered: ClassVar[bool] = False
    adjusts: ClassVar[bool] = True
    device_type: ClassVar[type[DeviceHalf]] = Vote
    one_shot: ClassVar[bool] = False

    @override
    def adjust(self, end: RoundEnd) -> Adjusted:
        """Update the posteriors; in a round that adjusts, sample the masks from them."""
        if end.round > self.schedule.stop:
            return Adjusted(end.model)
        generator = rng(self.seed, "thompson", end.round)
        weights, memory = dict(end.model.weights), {}
        for name, weight in end.model.weights.items():
            posterior = self._observed(end, name)
            memory[f"{name}.alpha"], memory[f"{name}.beta"] = posterior.alpha, posterior.beta
            if name in end.results[0].found:
                mask = posterior.sample(weight.shape, weight.nnz, generator)
                weights[name] = SparseTensor.gather(weight.to_dense(), mask)
        return Adjusted(SparseModel(weights, end.model.dense), memory)

    def _observed(self, end: RoundEnd, name: str) -> Posterior:
        """The layer's posterior after this round's outcomes."""
        weight = end.model.weights[name]
        posterior = _remembered(end.memory, name, weight.mask.size)
        counts = np.array([result.count for result in end.results], np.float64)
        shares = (counts / counts.sum()).tolist()
        core = weight.nnz - self.schedule.quota(end.round, weight.nnz, weight.mask.size)
        local = [result.model.weights[name].values for result in end.results]
        outcomes = present_outcomes(weight, local, shares, core)
        posterior = posterior.observed(weight.mask.indices, outcomes)
        if name in end.results[0].found:
            absent = weight.mask.complement()
            votes = [result.found[name][0] for result in end.results]
            posterior = posterior.observed(absent, absent_outcomes(absent, votes, shares))
        return posterior


def _remembered(memory: Mapping[str, Floats], name: str, size: int) -> Posterior:
    if f"{name}.alpha" not in memory:
        return Posterior.uniform(size)
    return Posterior(memory[f"{name}.alpha"], memory[f"{name}.beta"])
