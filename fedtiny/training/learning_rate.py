"""The learning rate of a round."""

from math import cos, pi

from fedtiny.training.config import TrainingConfig


def progress(round: int, rounds: int) -> float:
    """How far a round, counted from 1, has come among so many: 0 in the first, 1 in the last.

    >>> progress(1, 3), progress(2, 3), progress(3, 3), progress(1, 1)
    (0.0, 0.5, 1.0, 0.0)
    """
    return (round - 1) / max(rounds - 1, 1)


def learning_rate(config: TrainingConfig, progress: float) -> float:
    """Cosine decay from ``learning_rate`` at first to ``final_learning_rate`` at last.

    η(p) = η_end + ½ (η_1 − η_end) (1 + cos(π p))   (Loshchilov & Hutter 2017)

    Args:
        config: both ends.
        progress: p in [0, 1].

    >>> config = TrainingConfig(learning_rate=0.1, final_learning_rate=0.02)
    >>> [round(learning_rate(config, p), 3) for p in (0, 0.5, 1)]
    [0.1, 0.06, 0.02]
    """
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + span * (1 + cos(pi * progress)) / 2
