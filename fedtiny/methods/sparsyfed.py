"""SparsyFed: weights re-parameterized so that small ones hardly move, pruned by magnitude.

Guastella et al., "SparsyFed: Sparse Adaptive Federated Training", ICLR 2025 (arXiv 2504.05153).
Devices train w = sign(θ) |θ|^α in θ (:class:`fedtiny.pruning.slopes.PowerPropagation`), with
α = 1.25 as there, and the k largest of all layers together are kept.

Different from the paper: its devices train the dense model in the first round and prune after it;
ours never hold it, so that every method has the same budget, and the mask is that of the server's
pre-trained weights. From then on no weight grows, there as here, because weights at 0 have no
gradient where α > 1: pruning again after every round finds nothing to prune. Momentum and weight
decay act on w. Activations are not pruned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import override

from fedtiny.methods.device import DeviceHalf
from fedtiny.methods.fixed_masks import FixedMask, Masks
from fedtiny.methods.method import Start
from fedtiny.methods.settings import PruningSettings
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.masks import global_masks
from fedtiny.pruning.slopes import PowerPropagation, Slopes


class SparsyFedSettings(PruningSettings):
    """What only SparsyFed has.

    Attributes:
        power: α of w = sign(θ) |θ|^α; 1 trains w itself.
    """

    power: Annotated[float, Field(ge=1, le=4)] = 1.25


@dataclass(frozen=True)
class PowerHalf(DeviceHalf):
    """Trains in θ.

    Attributes:
        power: α.
    """

    power: float

    @override
    def slopes(self, model: SparseModel) -> Slopes:
        return PowerPropagation(self.power)


@dataclass(frozen=True)
class SparsyFed(FixedMask):
    """The method of the paper, from the server's global magnitude mask."""

    name: ClassVar[str] = "sparsyfed"
    device_type: ClassVar[type[DeviceHalf]] = PowerHalf

    settings: SparsyFedSettings

    @override
    @classmethod
    def settings_type(cls) -> type[SparsyFedSettings]:
        return SparsyFedSettings

    @property
    @override
    def device(self) -> DeviceHalf:
        return PowerHalf(self.settings.power)

    @override
    def masks(self, start: Start) -> Masks:
        return global_masks(start.weights, self.budget(start))
