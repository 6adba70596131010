"""What goes to nodes in one exchange, and what every reply to it has to be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flwr.app import Message, RecordDict

from clients.records import task_of, wire_bytes
from fedtiny.errors import FedTinyError
from fedtiny.runs.event_parts import Traffic
from fedtiny.wire.packet import Packet, WireError
from fedtiny.wire.phase import Phase


@dataclass(frozen=True, slots=True, eq=False)
class Outgoing:
    """Tasks that are to be carried to nodes.

    Attributes:
        phase: decides which action runs.
        round: 0 outside rounds.
        task: what a reply has to repeat: run, phase and round.
        packets: what is sent, by partition (in a join: by node).
        nodes: node ids by the same keys.
        contents: the same packets as Flower's records, by node id.
        away: partitions that should get one, but whose node is not connected.
        started: by :func:`time.monotonic`.
    """

    phase: Phase
    round: int
    task: str
    packets: Mapping[int, Packet]
    nodes: Mapping[int, int]
    contents: Mapping[int, RecordDict]
    away: Sequence[int]
    started: float

    def traffic(self) -> Traffic:
        """Of all packets; one object that several nodes get is serialized once."""
        sizes: dict[int, int] = {}
        for k, packet in self.packets.items():
            if id(packet) not in sizes:
                sizes[id(packet)] = wire_bytes(self.contents[self.nodes[k]])
        return traffic([(packet, sizes[id(packet)]) for packet in self.packets.values()])


class ReplyError(FedTinyError):
    """A reply that carries no content."""


def content_of(reply: Message | None, timeout_s: float) -> Message:
    """A node's reply, if it is one; raises ReplyError with the reason why not."""
    if reply is None:
        raise ReplyError(f"no reply within {timeout_s:.0f} s")
    if reply.has_error():
        raise ReplyError(f"{reply.error.reason} (Flower error {reply.error.code})")
    return reply


def check_task(reply: Message, task: str) -> None:
    """Raise WireError unless a reply says that it answers this task of this run."""
    said = task_of(reply.content)
    if said != task:
        raise WireError(f"answers {said[:60]!r}, but was asked {task!r}")


def traffic(messages: Sequence[tuple[Packet, int]]) -> Traffic:
    """Of messages, each with its bytes on the wire."""
    kinds: dict[str, int] = {}
    for packet, _ in messages:
        for name, size in packet.kinds().items():
            kinds[name] = kinds.get(name, 0) + size
    return Traffic(
        sum(packet.payload_bytes for packet, _ in messages), sum(w for _, w in messages), kinds
    )
