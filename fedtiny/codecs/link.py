"""Sending until a deadline: how much of a code arrives over a link, simulated.

Rates are a fleet's (:class:`fedtiny.fleet.link.Link`, a trace or constants), bit/s by simulated
second; interference loses blocks by chance. Nothing here was measured on a radio.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf

from fedtiny.codecs.blocks import Receiver, shortened, split
from fedtiny.fleet.link import Link
from fedtiny.seeding import rng

_ROUNDING_S = 1e-9
"""By which a block may end late: times are sums of floating-point numbers."""


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

    The sender knows its rate of the moment, not what comes: a block that would be late by it ends
    the code where the time does, since a prefix is a code. The receiver's acknowledgement is taken
    to cost nothing and never to be lost.

    Args:
        code: what is sent; any prefix says something.
        link: its uplink; latency counts once.
        interference: loses blocks.
        deadline_s: after ``start_s``; what is on the air then does not count.
        start_s: on the link's clock.
        seed: of the run.
        picture: which one it is; losses are a function of seed and picture.

    >>> link = Link.constant(down_kbps=20, up_kbps=20)
    >>> sent = send(bytes(240), link, Interference.NONE, deadline_s=0.06)
    >>> len(sent.code), sent.sent  # 64 bytes take 25.6 ms; in 8.8 ms 22 follow, 18 of the code
    (138, 3)
    """
    receiver, chance = Receiver(picture), rng(seed, "lost blocks", picture)
    now, end = start_s + link.latency_s, start_s + deadline_s
    sent = lost = 0
    for whole in split(code, picture):
        while True:
            now = link.up.next_above_zero(now)
            block = shortened(whole, _bytes_in_time(link, now, end))
            if block is None:
                return Transmission(receiver.code, sent, lost, inf)
            now += link.up.time_for(8 * len(block), now)
            if now > end + _ROUNDING_S:
                return Transmission(receiver.code, sent, lost, inf)
            sent += 1
            if chance.random() >= interference.loss:
                break
            lost += 1
        receiver.offer(block)
        if len(block) < len(whole):
            return Transmission(receiver.code, sent, lost, inf)
    return Transmission(receiver.code, sent, lost, now - start_s)


def _bytes_in_time(link: Link, now: float, end: float) -> int:
    """What could be sent by ``end`` if the rate stayed as it is."""
    return int((end - now + _ROUNDING_S) * link.up.at(now) / 8) if now < end else 0
