"""A run's numbers as TensorBoard event files: ``tensorboard --logdir runs``."""

from __future__ import annotations

from collections.abc import Mapping

from tensorboardX import SummaryWriter
from typing_extensions import override

from fedtiny import config as run_config
from strategies.observer import RunInfo
from strategies.tracking.tracker import Tracker


class TensorBoardTracker(Tracker):
    """Scalars by round, and the config as text."""

    @override
    def begin(self, info: RunInfo) -> None:
        purge = info.next_round if info.resumed else None  # what the checkpoint does not know
        self._writer = SummaryWriter(
            f"{self.place}/tensorboard",
            purge_step=purge,
            filename_suffix=f".{info.next_round}",  # files begun in one second have one name
        )
        if not info.resumed:
            text = "    " + run_config.dump(info.config).replace("\n", "\n    ")
            self._writer.add_text("config", text, 0)

    @override
    def log(self, round: int, scalars: Mapping[str, float]) -> None:
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, round)
        self._writer.flush()

    @override
    def finish(self) -> None:
        self._writer.close()
