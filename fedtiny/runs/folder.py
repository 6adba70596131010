"""A run's folder: what lies where."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fedtiny import config as run_config
from fedtiny.config import RunConfig
from fedtiny.errors import FedTinyError
from fedtiny.runs import atomic, lock, metrics
from fedtiny.runs.metrics import E, Recording
from fedtiny.tiers.tier import Tier

CONFIG = "config.toml"
"""File name of the resolved config: a folder that has it is a run's."""

LOCK = "lock"
"""File name of the lock: whoever writes into the folder holds it."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """``runs/<name>``: config, metrics, checkpoints, model, firmware, report, plots.

    Attributes:
        path: of the folder.

    >>> folder = RunFolder(Path("runs/demo"))
    >>> folder.model.as_posix(), folder.firmware.as_posix()
    ('runs/demo/model.safetensors', 'runs/demo/firmware')
    """

    path: Path

    @property
    def config(self) -> Path:
        """The resolved config."""
        return self.path / CONFIG

    @property
    def identity(self) -> Path:
        """What the run was begun with, see :mod:`fedtiny.runs.identity`."""
        return self.path / "run.json"

    @property
    def metrics(self) -> Path:
        """One JSON event per line."""
        return self.path / "metrics.jsonl"

    @property
    def data(self) -> Path:
        """Folder of shares: what each simulated device, and the server, read their samples from."""
        return self.path / "data"

    @property
    def checkpoints(self) -> Path:
        """Folder of the server's last states."""
        return self.path / "checkpoints"

    @property
    def model(self) -> Path:
        """The trained model."""
        return self.path / "model.safetensors"

    @property
    def modes(self) -> Path:
        """What each of its boards may do with the model (:mod:`fedtiny.doctor.run_modes`)."""
        return self.path / "modes.json"

    @property
    def firmware(self) -> Path:
        """Folder of the C project."""
        return self.path / "firmware"

    @property
    def plots(self) -> Path:
        """Folder of the figures and the CSV behind each."""
        return self.path / "plots"

    @property
    def dense_reference(self) -> RunFolder:
        """The same federation without pruning."""
        return RunFolder(self.path / "dense_reference")

    @property
    def tiers(self) -> Path:
        """Folder of the parts of the model that devices hold, each a folder like a run's."""
        return self.path / "tiers"

    def tier(self, tier: Tier) -> RunFolder:
        """Of one tier's part of the model: ``model.safetensors``, ``firmware`` …

        >>> RunFolder(Path("runs/demo")).tier(Tier(0.25, 0.8)).path.name
        'width-0.25-density-0.8'
        """
        return RunFolder(self.tiers / f"width-{tier.width:g}-density-{tier.density:.6g}")

    def adapted(self, method: str) -> RunFolder:
        """Of the model as ``method`` adapted it: ``model.safetensors``, ``firmware`` …

        >>> RunFolder(Path("runs/demo")).adapted("head").model.as_posix()
        'runs/demo/adapted/head/model.safetensors'
        """
        return RunFolder(self.path / "adapted" / method)

    def create(self, config: RunConfig) -> None:
        """Make the folder and save the resolved config."""
        self.path.mkdir(parents=True, exist_ok=True)
        atomic.write(self.config, run_config.dump(config))

    @contextmanager
    def locked(self, doing: str) -> Iterator[None]:
        """Nobody else writes into the folder until the block ends.

        Args:
            doing: for those who find it locked, e.g. ``"fedtiny export"``.

        Raises:
            LockedError: somebody does; the message says who.
            ConfigError: there is no such run.
        """
        if not self.config.is_file():
            self.load_config()
        with self.held(doing):
            yield

    @contextmanager
    def held(self, doing: str) -> Iterator[None]:
        """As :meth:`locked`, for a folder that may hold nothing yet."""
        with lock.hold(self.path / LOCK, str(self.path), doing):
            yield

    def load_config(self) -> RunConfig:
        """The config the run was made with.

        Raises:
            ConfigError: the folder has none; it is no run.
        """
        return run_config.load(self.config)

    def recording(self) -> Recording:
        """Every event of the run in order.

        Raises:
            FedTinyError: there are none; the run has not started or is elsewhere.
            MetricsError: see :func:`fedtiny.runs.metrics.read`.
        """
        if not self.metrics.is_file():
            raise FedTinyError(f"{self.path} has no metrics.jsonl: no run folder, or not started")
        return metrics.read(self.metrics)

    def events(self, kind: type[E]) -> list[E]:
        """The run's events of one kind; errors as :meth:`recording`."""
        return self.recording().of(kind)
