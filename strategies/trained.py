"""What a federation leaves: its model, and every tier's part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.tiers.tier import Tier


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a federation leaves.

    Attributes:
        model: the global model.
        tiers: each tier's part of it; empty where all devices train the whole model.
        adapted: what devices learned together after the rounds, by method; most often nothing.
    """

    model: TrainedModel
    tiers: Mapping[Tier, TrainedModel]
    adapted: Mapping[str, TrainedModel] = field(default_factory=dict)

    def save(self, folder: RunFolder) -> None:
        """Write the models where a run's folder has them."""
        for tier, part in self.tiers.items():
            _save(part, folder.tier(tier))
        for method, adapted in self.adapted.items():
            _save(adapted, folder.adapted(method))
        self.model.save(folder.model)  # last: a folder that has it is done


def _save(model: TrainedModel, place: RunFolder) -> None:
    place.path.mkdir(parents=True, exist_ok=True)
    model.save(place.model)
