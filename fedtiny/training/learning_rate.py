"""The learning rate of a round."""

from math import cos, pi

from fedtiny.training.config import TrainingConfig


def learning_rate(config: TrainingConfig, round: int, rounds: int) -> float:
    """Cosine decay from ``learning_rate`` in round 1 to ``final_learning_rate`` in the last.

    η(r) = η_end + ½ (η_1 − η_end) (1 + cos(π (r − 1)/(R − 1)))   (Loshchilov & Hutter 2017)

    Args:
        config: both ends.
        round: counted from 1.
        rounds: R; with a single round the rate is ``learning_rate``.

    >>> config = TrainingConfig(learning_rate=0.1, final_learning_rate=0.02)
    >>> [round(learning_rate(config, r, 3), 3) for r in (1, 2, 3)]
    [0.1, 0.06, 0.02]
    """
    progress = (round - 1) / max(rounds - 1, 1)
    span = config.learning_rate - config.final_learning_rate
    return config.final_learning_rate + span * (1 + cos(pi * progress)) / 2
