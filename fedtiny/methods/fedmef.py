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

from dataclasses import dataclass
from typing import Annotated, ClassVar

from pydantic import Field
from typing_extensions import override

from fedtiny.aggregation.models import pooled_growth
from fedtiny.methods.device import DeviceHalf, Quotas
from fedtiny.methods.fedtiny import exchange_weights
from fedtiny.methods.fixed_masks import MagnitudeMask
from fedtiny.methods.method import Adjusted, RoundEnd
from fedtiny.methods.settings import PruningSettings
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.extrusion import Extrusion, lowest
from fedtiny.settings import MOST, Fraction
from fedtiny.training.config import TrainingConfig


class FedMefSettings(PruningSettings):
    """What only FedMef has.

    Attributes:
        extrusion: λ of the penalty on the weights about to go.
        activation_density: part of the saved activations that devices keep for the backward pass;
            1 for all. The default is that of its authors' library.
    """

    extrusion: Annotated[float, Field(ge=0, le=MOST)] = 1e-4
    activation_density: Fraction = 0.5


@dataclass(frozen=True)
class Extrude(DeviceHalf):
    """Reports like FedTiny's devices, and penalizes the weights about to go while it trains.

    Attributes:
        strength: λ.
    """

    strength: float

    @override
    def extrusion(
        self, training: TrainingConfig, model: SparseModel, quotas: Quotas, steps: int
    ) -> Extrusion | None:
        low = lowest(model, quotas)
        return Extrusion(self.strength, low, training.learning_rate, steps)


@dataclass(frozen=True)
class FedMef(MagnitudeMask):
    """Extrusion and activation pruning, from the uniform magnitude mask."""

    name: ClassVar[str] = "fedmef"
    tiered: ClassVar[bool] = False
    adjusts: ClassVar[bool] = True
    device_type: ClassVar[type[DeviceHalf]] = Extrude
    one_shot: ClassVar[bool] = False

    settings: FedMefSettings

    @override
    @classmethod
    def settings_type(cls) -> type[FedMefSettings]:
        return FedMefSettings

    @property
    @override
    def device(self) -> DeviceHalf:
        return Extrude(self.settings.extrusion)

    @property
    @override
    def saved_density(self) -> float:
        return self.settings.activation_density

    @override
    def adjust(self, end: RoundEnd) -> Adjusted:
        """Grow the largest merged gradients, prune as many of the smallest weights."""
        growth = pooled_growth(end.results, end.blocks, end.model.masks)
        return Adjusted(exchange_weights(self.schedule, end, growth))
