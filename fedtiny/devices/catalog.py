"""The catalogue of real boards, read from ``catalog.toml``: every number beside its source.

Boards of your own stand in a file of the same form, which ``devices.catalog`` names.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from types import MappingProxyType
from typing import Any

from fedtiny.devices.profile import DeviceProfile
from fedtiny.errors import FedTinyError

_KIB = 1024
_MEGA = 1_000_000


@cache
def catalog(own: str = "") -> Mapping[str, DeviceProfile]:
    """All boards by name, in the file's order: smallest first; then those of the file ``own``.

    Raises:
        FedTinyError: ``own`` cannot be read, lacks a number, or has a name of ours.
    """
    text = (files("fedtiny.devices") / "catalog.toml").read_text(encoding="utf-8")
    boards = {name: _profile(name, entry) for name, entry in tomllib.loads(text).items()}
    if own:
        boards |= _own(own, boards)
    return MappingProxyType(boards)


def _own(path: str, taken: Mapping[str, DeviceProfile]) -> dict[str, DeviceProfile]:
    try:
        entries = tomllib.loads(Path(path).read_text(encoding="utf-8"))
        boards = {name: _profile(name, entry) for name, entry in entries.items()}
    except OSError as error:
        raise FedTinyError(f"devices.catalog: cannot read {path}: {error.strerror}") from error
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise FedTinyError(
            f"devices.catalog: {path} is not like fedtiny/devices/catalog.toml: {error}"
        ) from error
    if both := sorted(boards.keys() & taken.keys()):
        raise FedTinyError(f"devices.catalog: {path} has names of ours: {', '.join(both)}")
    return boards


def get(name: str, own: str = "") -> DeviceProfile:
    """The board called ``name``, as in the catalogue or as makers write it.

    Args:
        name: of the board.
        own: a file with further boards; none if empty.

    >>> get("esp32_s3").training_budget_bytes
    2097152
    >>> get("nRF52840").name, get("Pi Zero 2 W").name
    ('nrf52840', 'pi_zero_2_w')

    Raises:
        FedTinyError: no such board (the message lists those there are), or ``own`` is wrong.
    """
    boards = catalog(own)
    key = re.sub(r"[^a-z0-9]+", "_", name.lower())
    if key not in boards:
        raise FedTinyError(f"unknown board {name!r}; known: {', '.join(boards)}")
    return boards[key]


def _profile(name: str, entry: Mapping[str, Any]) -> DeviceProfile:
    internal = entry.get("ram_internal_kib", 0) * _KIB
    external = entry.get("ram_external_kib", 0) * _KIB
    return DeviceProfile(
        name=name,
        title=entry["title"],
        core=entry["core"],
        flash_bytes=entry["flash_kib"] * _KIB if "flash_kib" in entry else None,
        ram_internal_bytes=internal,
        ram_external_bytes=external,
        clock_hz=entry["clock_mhz"] * _MEGA,
        uplink=entry.get("uplink", ""),
        uplink_bps=entry["uplink_mbps"] * _MEGA if "uplink_mbps" in entry else None,
        training_budget_bytes=int((external or internal) * entry.get("training_share", 0)),
        runs=entry.get("runs", True),
        sources=dict(entry.get("sources", {})),
    )
