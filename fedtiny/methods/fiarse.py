"""FIARSE, homogeneous: every round the largest weights of a model that only the server holds.

Wu et al., "FIARSE: Model-Heterogeneous Federated Learning via Importance-Aware Submodel
Extraction", NeurIPS 2024 (arXiv 2407.19389), for devices that are all of one size. The server keeps
every weight. Devices train those with |θ| ≥ τ, where τ leaves as many of all layers together as the
budget says, with the gradient through the threshold (TCB-GD,
:class:`fedtiny.pruning.slopes.ThresholdSlope`); what they do not have stays as it was. A weight
that shrinks below one that waits is exchanged for it, in every round, and one that returns has the
value it left with. As ``tiers.policy = "fiarse"`` parts of several sizes are cut by the same rule.

Different from the paper: the start is pre-trained; layers that are never pruned are not ranked;
within a round the mask stays, where a weight that falls below τ is frozen there; the server steps
by the mean of the devices' weights, which is its learning rate of 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from fedtiny.methods.device import DeviceHalf
from fedtiny.methods.fixed_masks import FixedMask, Masks
from fedtiny.methods.method import Adjusted, Prepared, RoundEnd, Start
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.masks import global_masks
from fedtiny.pruning.slopes import Slopes, ThresholdSlope, smallest_weight
from fedtiny.sparse.tensor import SparseTensor


class ThresholdHalf(DeviceHalf):
    """Trains with the gradient through the threshold."""

    @override
    def slopes(self, model: SparseModel) -> Slopes:
        return ThresholdSlope(smallest_weight(model))


@dataclass(frozen=True)
class Fiarse(FixedMask):
    """The method of the paper for devices of one size."""

    name: ClassVar[str] = "fiarse"
    device_type: ClassVar[type[DeviceHalf]] = ThresholdHalf
    one_shot: ClassVar[bool] = False
    remasks: ClassVar[bool] = True

    @override
    def masks(self, start: Start) -> Masks:
        return global_masks(start.weights, self.budget(start))

    @override
    def prepare(self, start: Start) -> Prepared:
        prepared = super().prepare(start)
        return Prepared(prepared.model, prepared.story, memory=start.weights)

    @override
    def adjust(self, end: RoundEnd) -> Adjusted:
        """Put back what devices trained, and take the largest again."""
        everything = {}
        for name, weight in end.model.weights.items():
            held = end.memory[name].copy()
            held.reshape(-1)[weight.mask.indices] = weight.values
            everything[name] = held
        masks = global_masks(everything, end.model.nnz)
        weights = {name: SparseTensor.gather(everything[name], masks[name]) for name in masks}
        return Adjusted(SparseModel(weights, end.model.dense), everything)
