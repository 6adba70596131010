"""The phases of a run, in the order in which they happen."""

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
    def action(self) -> str:
        """Flower message type that asks devices for it.

        >>> Phase.TRAIN.action, Phase.DESCRIBE.action
        ('train', 'query.describe')
        """
        if self in (Phase.TRAIN, Phase.EVALUATE):
            return self.value
        return f"query.{self.value}"
