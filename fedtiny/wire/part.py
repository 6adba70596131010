"""Which part of the model a message is about: its width, where that is not all of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from textwrap import shorten
from types import MappingProxyType

import numpy as np

from fedtiny.escaping.free_text import MAX_CHARACTERS, check_free_text
from fedtiny.tiers.tier import Tier
from fedtiny.wire.packet import Packet, Scalar, WireError

_WIDTH = "part_width"
_MOST_PASSED = 64
_NONE: Mapping[Tier, str] = MappingProxyType({})

FIELDS = {
    "tier_width": "share of the channels that it can train, by its memory",
    "tier_density": "most weights of those that it can train, per prunable weight",
    "tier_refused": "why it can train no part of the model",
    "tier_passed": "width and density of better parts that it cannot train",
    "tier_reasons": "why it cannot train those",
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


def tier_packet(
    tier: Tier | None, refused: str = "", passed_over: Mapping[Tier, str] = _NONE
) -> Packet:
    """What a device says of its part; nothing if it was not asked.

    Args:
        tier: its part; None if it was not asked, or can train none.
        refused: why it can train none.
        passed_over: better parts, with the reason why each is not its own.
    """
    if refused:
        return Packet(scalars={"tier_refused": _line(refused)})
    if tier is None:
        return Packet()
    own: dict[str, Scalar] = {"tier_width": tier.width, "tier_density": tier.density}
    if not passed_over:
        return Packet(scalars=own)
    passed = np.array([(one.width, one.density) for one in passed_over])
    reasons = "\n".join(map(_line, passed_over.values()))
    return Packet({"tier_passed": passed}, {**own, "tier_reasons": reasons})


def read_tier(packet: Packet) -> tuple[Tier | None, str, dict[Tier, str]]:
    """The inverse of :func:`tier_packet`; raises WireError, or TextError."""
    if "tier_refused" in packet.scalars:
        return None, packet.name("tier_refused"), {}
    if "tier_width" not in packet.scalars:
        return None, "", {}
    width, density = packet.number("tier_width", 1.0), packet.number("tier_density", 1.0)
    return _tier(width, density), "", _read_passed_over(packet)


def _read_passed_over(packet: Packet) -> dict[Tier, str]:
    if "tier_reasons" not in packet.scalars:
        return {}
    reasons = packet.text("tier_reasons").split("\n")
    if len(reasons) > _MOST_PASSED:
        raise WireError(f"tier_reasons: {len(reasons):,} of them; at most {_MOST_PASSED}")
    parts = packet.numbers("tier_passed", (len(reasons), 2), high=1.0)
    shown = [check_free_text("tier_reasons", reason) for reason in reasons]
    return {_tier(*part): reason for part, reason in zip(parts.tolist(), shown, strict=True)}


def _tier(width: float, density: float) -> Tier:
    if not (width > 0 and density > 0):
        raise WireError(f"tier: no part has the width {width:g} and the density {density:g}")
    return Tier(width, density)


def _line(text: str) -> str:
    """In one line, cut between words where it is too long.

    >>> _line("a step needs " + 40 * "more " + "than that")[-11:]
    'more more …'
    """
    return shorten(text, MAX_CHARACTERS, placeholder=" …")
