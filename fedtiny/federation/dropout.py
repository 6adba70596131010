"""Ordered dropout: a device that holds a large part trains smaller ones in some rounds, too.

Otherwise a small part is a by-product of larger ones: what they share is trained for them by
everybody who holds them, and the small one's own devices are outvoted. (Horváth et al. 2021, FjORD,
draw a width for every batch; here it is one for every round, because a device plans its memory for
one model and sends one.)
"""

from __future__ import annotations

from collections.abc import Sequence

from fedtiny.seeding import rng
from fedtiny.tiers.tier import Tier


def part_of_round(
    kinds: Sequence[Tier], own: Tier, *, seed: int, round: int, last: int, partition: int
) -> Tier:
    """What a device trains in ``round``: one of the parts that lie in its own, all as likely.

    In round 1, when devices measure their memory, and in the last, whose batch-norm statistics
    stay, it is its own.

    Args:
        kinds: the parts there are.
        own: the largest that the device can hold, one of them.
        seed: of the run.
        round, last: from 1.
        partition: whose part it is.

    >>> half = Tier(0.5, 0.2)
    >>> def draw(round, own): return part_of_round(
    ...     [half, Tier(1.0, 1.0)], own, seed=0, round=round, last=9, partition=3)
    >>> sorted({draw(k, Tier(1.0, 1.0)).width for k in range(2, 9)}), draw(9, Tier(1.0, 1.0)).width
    ([0.5, 1.0], 1.0)
    >>> {draw(k, half).width for k in range(1, 10)}
    {0.5}
    """
    inside = [kind for kind in kinds if _lies_in(kind, own)]
    if round in (1, last) or len(inside) == 1:
        return own
    return inside[int(rng(seed, "dropout", round, partition).integers(len(inside)))]


def _lies_in(part: Tier, own: Tier) -> bool:
    """Whether a part needs no more channels and no more weights, hence no more of anything.

    Weights are channels times channels times the density of that.
    """
    return part.width <= own.width and _weights(part) <= _weights(own)


def _weights(part: Tier) -> float:
    return part.density * part.width**2
