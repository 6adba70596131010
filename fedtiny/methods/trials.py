"""What a method may have devices do before round 1, each something of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from fedtiny.aggregation.combiner import Combiner
from fedtiny.sparse.tensor import Floats
from fedtiny.tiers.block import Block
from fedtiny.tiers.tier import Tier
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase

Result = TypeVar("Result")


class AskEach(Protocol):
    """Asks devices something, each its own, and waits for their answers."""

    def __call__(
        self,
        phase: Phase,
        packets: Mapping[int, Packet],
        read: Callable[[int, Packet], Result],
    ) -> Mapping[int, Result]:
        """What ``read`` makes of replies, by partition, ascending; who failed is missing.

        Args:
            phase: what devices are asked to do.
            packets: by partition; an object that several get is sent as one.
            read: (partition, reply) to a result; raises FedTinyError if the reply is not one.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Trials:
    """The server's means.

    Attributes:
        largest: part of the model that every device can hold.
        draw: the partitions that train for the n-th time, from 1, as many as in a round.
        ask: to ask each device its own.
        pretrain: dense parameters and statistics of a part of the model, by name, trained on public
            samples as the whole model was.
        combiner: of devices' values.
    """

    largest: Tier
    draw: Callable[[int], Sequence[int]]
    ask: AskEach
    pretrain: Callable[[Block], Mapping[str, Floats]]
    combiner: Combiner
