"""Sending until a deadline: how many blocks of a code arrive over a link, simulated.

Rates are a fleet's (:class:`fedtiny.fleet.link.Link`, a trace or constants), bit/s by simulated
second; interference loses blocks by chance. Nothing here was measured on a radio.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from fedtiny.codecs.blocks import Receiver, split
from fedtiny.fleet.link import Link
from fedtiny.seeding import rng


class Interference(StrEnum):
    """How often a block is lost, whatever else there is on the air."""

    NONE = "none"
    LIGHT = "light"
    HEAVY = "heavy"

    @property
    def loss(self) -> float:
        """Share of blocks lost: assumed, not measured."""
        return {"none": 0.0, "light": 0.1, "heavy": 0.4}[self.value]


@dataclass(frozen=True, slots=True)
class Transmission:
    """What came of one picture.

    Attributes:
        code: the prefix that is there at the deadline.
        sent: blocks that were on the air in time, those sent again included.
        lost: of them.
        seconds: simulated, until the code was whole; ``inf`` if the deadline came first.
    """

    code: bytes
    sent: int
    lost: int
    seconds: float


def send(
    code: bytes,
    link: Link,
    interference: Interference,
    deadline_s: float,
    start_s: float = 0.0,
    seed: int = 0,
    picture: int = 0,
) -> Transmission:
    """Blocks in order, a lost one again at once, until all are there or the deadline comes.

    The receiver's acknowledgement is taken to cost nothing and never to be lost.

    Args:
        code: what is sent.
        link: its uplink; latency counts once.
        interference: loses blocks.
        deadline_s: after ``start_s``; what is on the air then does not count.
        start_s: on the link's clock.
        seed: of the run.
        picture: which one it is; losses are a function of seed and picture.

    >>> link = Link.constant(down_kbps=20, up_kbps=20)
    >>> sent = send(bytes(240), link, Interference.NONE, deadline_s=0.06)
    >>> len(sent.code), sent.sent  # 64 bytes take 25.6 ms
    (120, 2)
    """
    receiver, chance = Receiver(picture), rng(seed, "lost blocks", picture)
    now, end = start_s + link.latency_s, start_s + deadline_s
    sent = lost = 0
    for block in split(code, picture):
        while True:
            now += link.up.time_for(8 * len(block), now) if now < inf else inf
            if now > end:
                return Transmission(receiver.code, sent, lost, inf)
            sent += 1
            if chance.random() >= interference.loss:
                break
            lost += 1
        receiver.offer(block)
    return Transmission(receiver.code, sent, lost, now - start_s)
