"""Cores that plans are made for."""

from __future__ import annotations

import re
from enum import StrEnum


class Core(StrEnum):
    """Cores that differ in which kernels pay."""

    M0 = "m0"
    M3 = "m3"
    M4 = "m4"
    M55 = "m55"

    @property
    def has_mve(self) -> bool:
        """Whether it has Arm's vector extension for microcontrollers."""
        return self is Core.M55

    @property
    def planar_pays(self) -> bool:
        """Whether the planar kernel does.

        The M0 has no long multiply, and the M3's takes up to 7 cycles: fewer instructions there
        would be more time.
        """
        return self in (Core.M4, Core.M55)


CORES = {
    "m0": Core.M0,
    "m3": Core.M3,
    "m4": Core.M4,
    "m7": Core.M4,
    "m33": Core.M4,
    "m55": Core.M55,
}
"""The Cortex-M that are emulated, and whose costs stand for each."""

_PATTERNS = (
    (r"M0|M23", Core.M0),
    (r"M4|M7|M33", Core.M4),
    (r"M55|M85|M52", Core.M55),
)


def core_of(description: str) -> Core:
    """The core whose costs stand for a board's.

    Cores with neither DSP instructions nor MVE, those of other makers included, count as M3.

    >>> core_of("Arm Cortex-M4F").value, core_of("Arm Cortex-M33").value, core_of("LX7").value
    ('m4', 'm4', 'm3')
    """
    for pattern, core in _PATTERNS:
        if re.search(rf"Cortex-({pattern})", description):
            return core
    return Core.M3
