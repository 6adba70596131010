"""What a federation leaves: its model, and every tier's part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.tiers.tier import Tier


@dataclass(frozen=True, slots=True, eq=False)
class Trained:
    """What a federation leaves.

    Attributes:
        model: the global model.
        tiers: each tier's part of it; empty where all devices train the whole model.
    """

    model: TrainedModel
    tiers: Mapping[Tier, TrainedModel]

    def save(self, folder: RunFolder) -> None:
        """Write the models where a run's folder has them."""
        for tier, part in self.tiers.items():
            path = folder.tier(tier).model
            path.parent.mkdir(parents=True, exist_ok=True)
            part.save(path)
        self.model.save(folder.model)  # last: a folder that has it is done
