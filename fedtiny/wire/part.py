"""Which part of the model a message is about: its width, where that is not all of it."""

from __future__ import annotations

from dataclasses import replace

from fedtiny.escaping.free_text import MAX_CHARACTERS
from fedtiny.tiers.tier import Tier
from fedtiny.wire.packet import Packet, WireError

_WIDTH = "part_width"

FIELDS = {
    "tier_width": "share of the channels that it can train, by its memory",
    "tier_density": "most weights of those that it can train, per prunable weight",
    "tier_refused": "why it can train no part of the model",
}
"""What each number of a device's word on its part is, by kind."""


def about_part(packet: Packet, width: float) -> Packet:
    """``packet``, told to be about the part of ``width``; unchanged for the whole model."""
    return packet if width == 1 else replace(packet, scalars={**packet.scalars, _WIDTH: width})


def part_width(packet: Packet) -> float:
    """The inverse of :func:`about_part`: a share in (0, 1]; raises WireError if it is none."""
    return packet.number(_WIDTH, high=1.0) or _none() if _WIDTH in packet.scalars else 1.0


def _none() -> float:
    raise WireError(f"{_WIDTH}: no part of a model has the width 0")


def tier_packet(tier: Tier | None, refused: str) -> Packet:
    """What a device says of its part; nothing if it was not asked."""
    if refused:
        return Packet(scalars={"tier_refused": " ".join(refused.split())[:MAX_CHARACTERS]})
    if tier is None:
        return Packet()
    return Packet(scalars={"tier_width": tier.width, "tier_density": tier.density})


def read_tier(packet: Packet) -> tuple[Tier | None, str]:
    """The inverse of :func:`tier_packet`; raises WireError."""
    if "tier_refused" in packet.scalars:
        return None, packet.name("tier_refused")
    if "tier_width" not in packet.scalars:
        return None, ""
    width, density = packet.number("tier_width", 1.0), packet.number("tier_density", 1.0)
    if not width or not density:
        raise WireError(f"tier: no part has the width {width:g} and the density {density:g}")
    return Tier(width, density), ""
