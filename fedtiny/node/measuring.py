"""What a device can measure of itself, from ``/proc`` and ``/sys``, without any tool."""

from __future__ import annotations

import platform
import re
import shutil
from pathlib import Path

from fedtiny.escaping.free_text import MAX_CHARACTERS
from fedtiny.node.limits import free_memory_bytes
from fedtiny.node.machine import board_name, ram_bytes
from fedtiny.wire.measured import HIGHEST, Measured

_ROOT = Path("/")
_ZONES = "sys/class/thermal"
_CLOCK = "sys/devices/system/cpu/cpu0/cpufreq"
_THROTTLED = "sys/devices/platform/soc/soc:firmware/get_throttled"


def measure(state: Path, set_aside: int, root: Path = _ROOT) -> Measured:
    """One look at this device.

    Args:
        state: folder whose disk counts; the nearest one above it that there is.
        set_aside: files of its recordings that were not finished.
        root: ``/``.
    """
    return Measured(
        hardware(root),
        free_ram_bytes=_within("free_ram_bytes", free_memory_bytes()),
        free_disk_bytes=_within("free_disk_bytes", _free_disk(state)),
        temperature_c=_within("temperature_c", _temperature(root)),
        clock_mhz=_within("clock_mhz", _clock(root, "scaling_cur_freq")),
        top_clock_mhz=_within("top_clock_mhz", _clock(root, "cpuinfo_max_freq")),
        throttled=_within("throttled", _number(root / _THROTTLED, 16)),
        set_aside=_within("set_aside", set_aside),
    )


def recognised_board(root: Path = _ROOT) -> str:
    """The catalogue's name of this board; empty if it is none of the catalogue."""
    return board_name(root / "proc/device-tree/model")


def hardware(root: Path = _ROOT) -> str:
    """What this is: the device tree's model, else the processor and the memory.

    >>> hardware(Path("/nowhere")).startswith("unknown")
    True
    """
    model = _text(root / "proc/device-tree/model") or _processor(root)
    shown = "".join(one if one.isprintable() else " " for one in model)
    return shown.strip()[:MAX_CHARACTERS] or "unknown"


def _processor(root: Path) -> str:
    info = _text(root / "proc/cpuinfo")
    found = re.search(r"^(?:Model|Hardware|model name)\s*:\s*(.+)$", info, re.MULTILINE)
    cores = len(re.findall(r"^processor\s*:", info, re.MULTILINE))
    size = ram_bytes(root / "proc/meminfo") >> 20
    name = found[1] if found else f"unknown {platform.machine()} processor"
    return f"{name}, {cores} cores, {size} MiB" if cores else name


def _temperature(root: Path) -> int | None:
    """Of the hottest zone that says a sensible one, whole degrees Celsius."""
    zones = sorted((root / _ZONES).glob("thermal_zone*/temp"))
    told = [value // 1000 for zone in zones if (value := _number(zone)) is not None]
    return max((max(one, 0) for one in told if one <= HIGHEST["temperature_c"]), default=None)


def _clock(root: Path, name: str) -> int | None:
    kilohertz = _number(root / _CLOCK / name)
    return None if kilohertz is None else kilohertz // 1000


def _free_disk(state: Path) -> int | None:
    there = next((folder for folder in (state, *state.parents) if folder.is_dir()), None)
    try:
        return None if there is None else shutil.disk_usage(there).free
    except OSError:
        return None


def _within(name: str, value: int | None) -> int | None:
    """What a sensor that is broken says is left out."""
    return value if value is not None and 0 <= value <= HIGHEST[name] else None


def _number(file: Path, base: int = 10) -> int | None:
    try:
        return int(_text(file), base)
    except ValueError:
        return None


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8", errors="replace").rstrip("\0\n")
    except OSError:
        return ""
