"""A run's numbers in Weights & Biases; ``WANDB_MODE=offline`` keeps them in the run's folder."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping

import wandb
from typing_extensions import override

from strategies.observer import RunInfo
from strategies.tracking.flat import flat
from strategies.tracking.tracker import Tracker


class WandbTracker(Tracker):
    """One W&B run a run, in the project ``fedtiny`` unless ``WANDB_PROJECT`` names another."""

    @override
    def begin(self, info: RunInfo) -> None:
        known = self.recall() if info.resumed else None
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT") or "fedtiny",
            name=info.config.name,
            id=known or self.keep(secrets.token_hex(4)),
            resume="allow" if known else None,
            dir=self.place,
            config=flat(info.config),
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off"),
        )

    @override
    def log(self, round: int, scalars: Mapping[str, float]) -> None:
        self._run.log(dict(scalars), step=round)

    @override
    def finish(self) -> None:
        self._run.finish()
