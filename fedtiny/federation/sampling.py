"""Who is asked in a phase: all devices, or a draw that is a function of (seed, phase, round)."""

from __future__ import annotations

from collections.abc import Sequence

from fedtiny.config.sections import FederationConfig
from fedtiny.seeding import rng
from fedtiny.wire.phase import Phase


def sample(seed: int, purpose: str, round: int, partitions: Sequence[int], count: int) -> list[int]:
    """``count`` of ``partitions``, ascending; all of them for 0.

    Args:
        seed: the run's seed.
        purpose: what they are drawn for; another purpose or round is another draw.
        round: counted from 1; 0 outside rounds.
        partitions: to draw from.
        count: how many; all if there are not more.

    >>> sample(0, "evaluate", 1, range(8), 0) == list(range(8))
    True
    >>> sample(0, "evaluate", 1, range(8), 3) == sample(0, "evaluate", 1, range(8), 3)
    True
    """
    if count == 0 or count >= len(partitions):
        return sorted(partitions)
    drawn = rng(seed, purpose, round).choice(len(partitions), count, replace=False)
    return sorted(partitions[i] for i in drawn)


def asked_in(
    phase: Phase, round: int, partitions: Sequence[int], federation: FederationConfig, seed: int
) -> list[int]:
    """Those of ``partitions`` that a phase without training asks, ascending.

    Whatever a method asks before round 1 is asked of those that described themselves, so that
    what they said of their samples holds for all their replies.
    """
    match phase:
        case Phase.EVALUATE:
            return sample(seed, "evaluate", round, partitions, federation.evaluate_clients)
        case Phase.CALIBRATE:
            return sample(seed, "calibrate", round, partitions, federation.calibrate_clients)
        case Phase.ADAPT:
            return sample(seed, "adapt", round, partitions, federation.adapt_clients)
        case _:
            return sample(seed, "describe", 0, partitions, federation.describe_clients)
