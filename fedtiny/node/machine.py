"""What this machine is and has, from ``/proc``: the same on every Linux."""

from __future__ import annotations

import re
from pathlib import Path

from fedtiny.devices.catalog import catalog

_MODEL = Path("/proc/device-tree/model")
_MEMORY = Path("/proc/meminfo")


def board_name(model: Path = _MODEL) -> str:
    """The catalogue's name of this board, as its device tree calls it; empty if it is none.

    ``Raspberry Pi Zero 2 W Rev 1.0`` is ``pi_zero_2_w``.
    """
    try:
        text = model.read_text(encoding="utf-8", errors="replace").rstrip("\0\n")
    except OSError:
        return ""
    titles = {board.title.partition(",")[0]: name for name, board in catalog().items()}
    found = [title for title in titles if re.match(rf"{re.escape(title)}\b", text)]
    return titles[max(found, key=len)] if found else ""


def ram_bytes(meminfo: Path = _MEMORY) -> int:
    """All memory that the kernel sees; 0 if it does not say."""
    return _memory(meminfo, "MemTotal")


def free_ram_bytes(meminfo: Path = _MEMORY) -> int:
    """Memory that programs could take without swapping; 0 if the kernel does not say."""
    return _memory(meminfo, "MemAvailable")


def _memory(meminfo: Path, key: str) -> int:
    try:
        text = meminfo.read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(rf"^{key}:\s+(\d+) kB$", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0
