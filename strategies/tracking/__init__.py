"""Experiment trackers: a run's numbers in TensorBoard, MLflow or Weights & Biases."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from importlib import import_module

from fedtiny.errors import FedTinyError
from fedtiny.runs.folder import RunFolder
from strategies.tracking.tracker import Tracker


class Tool(StrEnum):
    """Whose library is imported only if a run asks for it."""

    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"
    WANDB = "wandb"


class TrackingError(FedTinyError):
    """A tracker cannot begin; the message says what is missing."""


_TRACKERS = {
    Tool.TENSORBOARD: ("tensorboardX", "TensorBoardTracker"),
    Tool.MLFLOW: ("mlflow", "MlflowTracker"),
    Tool.WANDB: ("wandb", "WandbTracker"),
}


def check(tool: Tool) -> None:
    """See that a tool's library is there.

    Raises:
        TrackingError: it is not.
    """
    library, _ = _TRACKERS[tool]
    try:
        import_module(library)
    except ImportError as error:
        raise TrackingError(
            f"{tool} needs {library}, which cannot be imported ({error}); install it with: pip "
            "install 'fedtiny[track]'"
        ) from error


def tracker(tool: Tool, folder: RunFolder, warn: Callable[[str], None]) -> Tracker:
    """The tracker of one run.

    Args:
        tool: to track with.
        folder: of the run; what stays on this machine is written to ``tracking`` in it.
        warn: called if the tool fails later: the run then goes on without it.

    Raises:
        TrackingError: its library is not installed.
    """
    check(tool)
    name = _TRACKERS[tool][1]
    made: Tracker = getattr(import_module(f"strategies.tracking.{tool}"), name)(folder, warn)
    return made
