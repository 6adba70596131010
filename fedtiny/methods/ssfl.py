"""SSFL: one-shot saliency on the devices' own data.

Ohib et al., "SSFL: Discovering Sparse Unified Subnetworks at Initialization for Efficient Federated
Learning" (arXiv 2405.09037). Every device scores all weights of the dense model, s_k = |g_k ⊙ θ|
on one batch; the server keeps the largest Σ_k (|D_k|/|D|) s_k of all layers together. The dense
model goes down and a dense array of scores comes up, once, and both are counted; a device whose
budget does not hold a dense training step refuses. The paper's clients start from one random seed,
ours from the run's pre-trained weights, like every method.
"""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from fedtiny.aggregation.mean import mean_scores
from fedtiny.methods.fixed_masks import FixedMask, Masks
from fedtiny.methods.method import Start
from fedtiny.models.sparse_model import from_state
from fedtiny.pruning.masks import global_masks
from fedtiny.sparse.tensor import Mask
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.phase import Phase
from fedtiny.wire.saliency import SaliencyScores


class Ssfl(FixedMask):
    """The fixed mask that the devices' averaged saliency chooses."""

    name: ClassVar[str] = "ssfl"
    dense_step: ClassVar[bool] = True

    @override
    def masks(self, start: Start) -> Masks:
        full = {name: Mask.full(weight.shape) for name, weight in start.weights.items()}
        task = ModelTask(from_state(start.graph, start.state, full), start.normalization)
        replies = start.ask(
            Phase.SALIENCY,
            lambda _: task.packet(start.graph),
            lambda _, packet: SaliencyScores.read(start.graph, packet),
        )
        reports = [report for _, report in replies]
        scores = mean_scores(
            [report.scores for report in reports],
            [report.count for report in reports],
        )
        return global_masks(scores, self.budget(start))
