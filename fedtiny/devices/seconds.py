"""What a round takes on one device: a function of rates, FLOPs and bytes, never of this machine."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from fedtiny.devices.profile import DeviceProfile
from fedtiny.errors import FedTinyError
from fedtiny.fleet.group import Seat
from fedtiny.fleet.link import Link


class PriceError(FedTinyError):
    """Nobody can say how long something takes; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class RoundSeconds:
    """Simulated seconds of one device in one round.

    Attributes:
        down, compute, up: receiving the task, training, sending the reply; one after the other.
    """

    down: float
    compute: float
    up: float

    @property
    def total(self) -> float:
        """All three."""
        return self.down + self.compute + self.up


def link_of(seat: Seat, seed: int) -> Link:
    """A device's link; raises PriceError if its group has none."""
    link = seat.link(seed)
    if link is None:
        raise PriceError(
            f"group {seat.group.name!r} has no link, so nobody knows how long its messages take; "
            "give it one in the fleet's file"
        )
    return link


def compute_seconds(profile: DeviceProfile, flops: float) -> float:
    """How long a board trains.

    Args:
        profile: with its sustained rate.
        flops: that are executed, above 0.

    Raises:
        PriceError: the board states no rate, or there is nothing to execute: no time is ever 0
            because a number was missing.
    """
    if not profile.sustained_flops:
        raise PriceError(
            f"{profile.name}: its catalogue states no sustained_mflops, so nobody knows how long "
            "it trains; give one, with its source, or sustained_flops in the fleet's file"
        )
    if not (isfinite(flops) and flops > 0):
        raise PriceError(f"{profile.name}: {flops} FLOPs to execute; expected a number above 0")
    return flops / profile.sustained_flops


def round_seconds(
    profile: DeviceProfile,
    link: Link,
    flops: float,
    down_bytes: int,
    up_bytes: int,
    start_s: float = 0.0,
    round: int = 0,
) -> RoundSeconds:
    """Download, training and upload of one device.

    Args:
        profile: with its sustained rate.
        link: of the device.
        flops: that it executes, above 0.
        down_bytes, up_bytes: on the wire.
        start_s: simulated time at which the task leaves the server.
        round: decides the link's jitter.

    Raises:
        PriceError: see :func:`compute_seconds`.

    >>> from fedtiny.devices.catalog import get
    >>> link = Link.constant(down_kbps=800, up_kbps=80)
    >>> round_seconds(get("esp32_s3"), link, 60e6, 100_000, 10_000)  # 30 MFLOP/s, assumed
    RoundSeconds(down=1.0, compute=2.0, up=1.0)
    """
    compute = compute_seconds(profile, flops)
    down = link.down_seconds(down_bytes, start_s, round)
    up = link.up_seconds(up_bytes, start_s + down + compute, round)
    return RoundSeconds(down, compute, up)
