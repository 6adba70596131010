"""Who trains which part of the model in a round, and what the parts hold."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats
from fedtiny.tiers.block import Block, block_of
from fedtiny.tiers.cut import Ranks, cut, ranks_of
from fedtiny.tiers.policy import Policy
from fedtiny.tiers.rings import Rings
from fedtiny.tiers.tier import WHOLE, Tier

Statistics = Mapping[Tier, Mapping[str, Floats]]
"""Batch norm's running statistics of each tier, by name, in the model's shapes."""


Key = TypeVar("Key", Tier, float)


@dataclass(frozen=True)
class Parts:
    """Of one run; what it is asked is a function of the round.

    Attributes:
        graph: the whole model.
        policy: None: everybody trains the whole model.
        tiers: by partition, of the devices that train.
        chosen: by devices to be the global model; None: the largest that anybody trains.
    """

    graph: Graph
    policy: Policy | None
    tiers: Mapping[int, Tier]
    chosen: Tier | None = None

    @property
    def are_all_whole(self) -> bool:
        """Whether nobody trains less than the whole model."""
        return self.policy is None or all(tier.is_whole for tier in self.tiers.values())

    @cached_property
    def kinds(self) -> list[Tier]:
        """The tiers there are, ascending."""
        return sorted(set(self.tiers.values())) or [WHOLE]

    @property
    def top(self) -> Tier:
        """The largest that anybody trains."""
        return self.kinds[-1]

    @property
    def shared(self) -> Tier:
        """Of the global model."""
        return self.chosen or self.top

    def tier(self, partition: int) -> Tier:
        """A device's; of one that was away when tiers were given out, the smallest."""
        return WHOLE if self.are_all_whole else self.tiers.get(partition, self.kinds[0])

    def with_every_kind(self, partitions: Collection[int]) -> list[int]:
        """``partitions``, ascending, and one device of every tier that is not among them."""
        missing = set(self.kinds) - {self.given(k) for k in partitions}
        first = {tier: min(k for k, one in self.tiers.items() if one == tier) for tier in missing}
        return sorted({*partitions, *first.values()})

    def given(self, partition: int) -> Tier:
        """What a device uses: what it trains; of one that trains nothing, the global model."""
        return self.tier(partition) if self.trains(partition) else self.shared

    def missing(self, asked: Mapping[int, Tier], counted: Collection[int]) -> dict[Tier, int]:
        """Tiers of which devices were asked and none counts, with how many were asked.

        Empty where all devices train the whole model: then somebody counts.

        Args:
            asked: by partition, what it was asked about.
            counted: partitions.
        """
        if self.are_all_whole:
            return {}
        by_tier = grouped(asked.items())
        return {t: len(who) for t, who in by_tier.items() if not set(who) & set(counted)}

    def trains(self, partition: int) -> bool:
        """Whether a device is asked to train at all."""
        return self.policy is None or not self.tiers or partition in self.tiers

    def joined_by(self, own: Mapping[int, Tier | None]) -> dict[int, Tier]:
        """What devices train that come to those there are: the largest part that each can hold.

        Args:
            own: by partition, the best that a device can hold; None if nothing fits it.

        Returns:
            By partition; who can hold none of the parts is missing, and trains nothing.
        """
        found = {}
        for partition, tier in own.items():
            fitting = [kind for kind in self.kinds if tier and _fits(kind, tier)]
            if fitting:
                found[partition] = fitting[-1]
        return found

    def block(self, tier: Tier, round: int) -> Block:
        """Where a tier's part lies in ``round``."""
        shift = self.policy.shift(round) if self.policy and tier.width < 1 else 0
        return block_of(self.graph, tier.width, shift)

    @cached_property
    def rings(self) -> Rings:
        """Where the parts lie in each other; one ring, the whole model, where they move."""
        if self.policy is None or self.are_all_whole or self.policy.shift(1):
            return Rings(self.graph, (1.0,), 0.0)
        widths = tuple(sorted({tier.width for tier in self.kinds}))
        return Rings(self.graph, widths, self.policy.slope)

    def model(
        self, model: SparseModel, statistics: Statistics, ranks: Ranks, tier: Tier, round: int
    ) -> SparseModel:
        """A tier's part of ``model`` in ``round``, with its own batch-norm statistics.

        Args:
            model: whole.
            statistics: of tiers that were trained before; another one of the global model's width
                has the global model's, all others have the whole model's.
            ranks: of the model's weights, as of the last adjustment; empty: those of now.
            tier: which part.
            round: from 1.
        """
        if self.policy is None or tier.is_whole:
            return model
        nearest = self.shared if tier.width == self.shared.width else tier
        measured = statistics.get(tier, statistics.get(nearest, {}))
        own = SparseModel(model.weights, {**model.dense, **measured})
        order = ranks if ranks and not self.policy.reranks else ranks_of(model)
        density = tier.density * self.policy.config.share(round)
        return cut(own, self.block(tier, round), density, order, self.policy.across)


def _fits(part: Tier, within: Tier) -> bool:
    return part.width <= within.width and part.density <= within.density


def grouped(parts: Iterable[tuple[int, Key]]) -> dict[Key, list[int]]:
    """Partitions by what they have in common, ascending.

    >>> grouped([(0, WHOLE), (1, Tier(0.5, 1.0)), (2, WHOLE)])[WHOLE]
    [0, 2]
    """
    found: dict[Key, list[int]] = {}
    for partition, key in parts:
        found.setdefault(key, []).append(partition)
    return {key: found[key] for key in sorted(found)}
