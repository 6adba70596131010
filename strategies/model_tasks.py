"""The message that shows devices the model, each its own part of it."""

from __future__ import annotations

from collections.abc import Iterable

from fedtiny.federation.parts import grouped
from fedtiny.federation.round import Federation
from fedtiny.federation.state import ServerState
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.part import about_part


def model_packets(
    federation: Federation, state: ServerState, partitions: Iterable[int], round: int
) -> dict[int, Packet]:
    """By partition, ascending; devices with one part get one object.

    Args:
        federation: whose.
        state: with the model, and the parts of it that devices have.
        partitions: that are shown it.
        round: from 1; where parts move, they lie where they did then.
    """
    parts, packets = federation.parts(state), dict[int, Packet]()
    for tier, some in grouped((k, parts.given(k)) for k in partitions).items():
        block = parts.block(tier, round)
        task = ModelTask(federation.model(state, tier, round), state.normalization)
        packets |= dict.fromkeys(some, about_part(task.packet(block.graph), block.width))
    return dict(sorted(packets.items()))
