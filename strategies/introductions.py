"""Whom the server knows: a device says what it has before it is asked for more, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fedtiny.federation.described import Described, Sizes
from fedtiny.federation.parts import Parts
from fedtiny.models.graph import Graph
from fedtiny.runs.event_parts import PassedOver
from fedtiny.runs.events import DeviceDescribed, TierGiven
from fedtiny.tiers.policy import Policy
from fedtiny.tiers.tier import Tier
from fedtiny.wire.describe import Description
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from strategies.exchange import Exchange
from strategies.observer import Observer


class Introductions:
    """Of one run. With ``federation.describe_clients`` most devices introduce themselves late.

    Args:
        graph: of the run.
        policy: who trains which part of the model; None: everybody all of it.
        exchange: to ask devices with.
        observer: is told of every description.

    Attributes:
        described: by partition, as they said.
        tiers: by partition, the part of the model that a device is to train; empty where all
            train all of it.
    """

    def __init__(
        self, graph: Graph, policy: Policy | None, exchange: Exchange, observer: Observer
    ) -> None:
        self._graph = graph
        self._policy = policy
        self._exchange = exchange
        self._observer = observer
        self._asked: set[int] = set()
        self.described: dict[int, Sizes] = {}
        self.tiers: dict[int, Tier] = {}

    def restore(self, described: Described, tiers: Mapping[int, Tier]) -> None:
        """Go on with what a checkpoint kept."""
        self.described.update(described)
        self.tiers.update(tiers)
        self._asked |= {*described, *self._exchange.asked(Phase.DESCRIBE, 0)}

    def meet(self, partitions: Iterable[int], round: int) -> dict[int, Description]:
        """Ask those of ``partitions`` that were never asked; what they said.

        Who fails then, or is away before round 1, is not asked again: its replies weigh no more
        than those of a device that is not known
        (:func:`fedtiny.federation.described.most_samples`).

        Raises:
            FederationError: before round 1, too many fail or are away.
        """
        new = [k for k in partitions if k not in self._asked]
        if round:
            new = self._exchange.connected(new)
        if not new:
            return {}
        self._asked.update(new)
        packet = Packet()
        descriptions = self._exchange.ask(
            Phase.DESCRIBE,
            round,
            dict.fromkeys(new, packet),
            lambda partition, reply: Description.read(self._graph, partition, reply),
        )
        for partition, one in descriptions.items():
            self._observer.on_event(
                DeviceDescribed(
                    round,
                    partition,
                    one.samples,
                    one.ledger,
                    one.measured,
                    one.tier,
                    one.refused,
                    tuple(PassedOver(*pair) for pair in one.passed_over.items()),
                )
            )
            self.described[partition] = Sizes(one.samples, one.development, one.test)
        self._give(descriptions, round)
        return descriptions

    def settle(self, tier: Tier, round: int = 0) -> None:
        """All that were given a part are to train this one instead."""
        for partition in sorted(self.tiers):
            if self.tiers[partition] != tier:
                self._observer.on_event(TierGiven(round, partition, tier))
                self.tiers[partition] = tier

    def _give(self, descriptions: Mapping[int, Description], round: int) -> None:
        """Who is to train which part of the model: settled for the first, found for those to come.

        What parts there are is settled with the first, because masks are made for them.
        """
        if self._policy is None:
            return
        own = {partition: one.tier for partition, one in descriptions.items()}
        if self.tiers:
            found = Parts(self._graph, self._policy, self.tiers).joined_by(own)
        else:
            found = self._policy.assign(own)
        for partition in sorted(found):
            self._observer.on_event(TierGiven(round, partition, found[partition]))
        self.tiers.update(found)
