"""The phases of a run, in the order in which they happen."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum


class Phase(StrEnum):
    """What the server is doing; every byte on the wire belongs to one phase."""

    JOIN = "join"
    """Every node says which partition it holds."""
    DESCRIBE = "describe"
    """Devices introduce themselves: samples, input statistics, memory plan."""
    PRETRAIN = "pretrain"
    """The server trains on public samples; nothing is sent."""
    CANDIDATE_STATISTICS = "candidate_statistics"
    """First trip of adaptive batch-norm selection."""
    CANDIDATE_LOSSES = "candidate_losses"
    """Second trip of adaptive batch-norm selection."""
    SALIENCY = "saliency"
    """Devices score every weight of the dense model once (SSFL)."""
    TRAIN = "train"
    """A federated round."""
    EVALUATE = "evaluate"
    """The global model on every device's test samples."""
    CALIBRATE = "calibrate"
    """Activation ranges for quantization."""

    @property
    def label(self) -> str:
        """In a table. (``title`` is a method of every string.)"""
        return _WORDS[self][0]

    @property
    def doing(self) -> str:
        """What a person reads while it goes on."""
        return _WORDS[self][1]

    @property
    def action(self) -> str:
        """Flower message type that asks devices for it.

        >>> Phase.TRAIN.action, Phase.DESCRIBE.action
        ('train', 'query.describe')
        """
        if self in (Phase.TRAIN, Phase.EVALUATE):
            return self.value
        return f"query.{self.value}"


_WORDS: Mapping[Phase, tuple[str, str]] = {
    Phase.JOIN: ("join", "waiting for devices"),
    Phase.DESCRIBE: ("describe data and memory", "devices introduce themselves"),
    Phase.PRETRAIN: ("pre-train", "pre-training on the server"),
    Phase.CANDIDATE_STATISTICS: ("selection, first trip", "candidates: batch norm"),
    Phase.CANDIDATE_LOSSES: ("selection, second trip", "candidates: losses"),
    Phase.SALIENCY: ("score weights", "devices score weights"),
    Phase.TRAIN: ("train", "devices train"),
    Phase.EVALUATE: ("evaluate", "devices evaluate"),
    Phase.CALIBRATE: ("calibrate int8", "devices calibrate"),
}
"""Label and doing of each."""
