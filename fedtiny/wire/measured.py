"""What a device measured of itself, as part of a message: for people, never for decisions.

A small set with stated ranges (docs/decisions/11-what-is-believed.md). A simulated device sends
none of it; a real one leaves out what its system does not tell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from fedtiny.wire.packet import MAX_COUNT, Packet, Scalar

FIELDS: Mapping[str, str] = {
    "hardware": "what the device is, in its own words",
    "free_ram_bytes": "memory that it could still take",
    "free_disk_bytes": "free disk where it keeps its state",
    "temperature_c": "temperature of its processor, in degrees Celsius, 0 if below",
    "clock_mhz": "clock of its processor now",
    "top_clock_mhz": "highest clock of its processor",
    "throttled": "why a Raspberry Pi slowed itself down: the bits of its firmware's get_throttled",
    "set_aside": "files of its recordings that were not finished",
}
"""What each number or string is, by kind."""

HIGHEST = {
    "free_ram_bytes": MAX_COUNT,
    "free_disk_bytes": MAX_COUNT,
    "temperature_c": 200,
    "clock_mhz": 100_000,
    "top_clock_mhz": 100_000,
    "throttled": 2**20 - 1,
    "set_aside": 1_000_000,
}
"""Largest that is believed, and sent."""

THROTTLED: Mapping[int, str] = {
    0: "under-voltage",
    1: "clock capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage before",
    17: "clock capped before",
    18: "throttled before",
    19: "soft temperature limit before",
}
"""What the bits of ``throttled`` say; "before": since the device was started."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One look; ``None`` for what the system does not tell. See :data:`FIELDS` for units.

    >>> Measured.read(Measured("Raspberry Pi 5", temperature_c=61).packet())
    Measured(hardware='Raspberry Pi 5', free_ram_bytes=None, ..., temperature_c=61, ...)
    """

    hardware: str
    free_ram_bytes: int | None = None
    free_disk_bytes: int | None = None
    temperature_c: int | None = None
    clock_mhz: int | None = None
    top_clock_mhz: int | None = None
    throttled: int | None = None
    set_aside: int | None = None

    def packet(self) -> Packet:
        """As named scalars."""
        return Packet(scalars=dict(self._known()))

    def _known(self) -> Mapping[str, Scalar]:
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def read(cls, packet: Packet) -> Self | None:
        """The inverse of :meth:`packet`; ``None`` if a device said nothing.

        Raises:
            WireError: a number outside its range.
            TextError: a name that cannot be shown.
        """
        if "hardware" not in packet.scalars:
            return None
        numbers: dict[str, Any] = {
            name: packet.integer(name, high)
            for name, high in HIGHEST.items()
            if name in packet.scalars
        }
        return cls(packet.name("hardware"), **numbers)
