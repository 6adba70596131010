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
from typing import Annotated

from pydantic import Field, ValidationError

from fedtiny.devices.profile import DeviceProfile
from fedtiny.errors import FedTinyError
from fedtiny.escaping.free_text import check_free_text
from fedtiny.sensing.sensor import Sensor, SensorError
from fedtiny.settings import Section
from fedtiny.text_files import TextFileError, read_toml

_KIB = 1024
_MEGA = 1_000_000

_Kib = Annotated[int, Field(ge=0, le=2**40)]
_Mega = Annotated[float, Field(gt=0, le=1e6)]


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


class _Sensor(Section):
    """``[board.sensor]``, see :class:`fedtiny.sensing.sensor.Sensor`."""

    width: int
    height: int
    channels: int = 3
    bits: int = 8
    poolings: tuple[int, ...] = (1,)
    grey: bool = True


class _Board(Section):
    """One table of a catalogue; see the head of ``catalog.toml``."""

    title: str
    core: str
    flash_kib: _Kib | None = None
    ram_internal_kib: _Kib = 0
    ram_external_kib: _Kib = 0
    clock_mhz: _Mega
    uplink: str = ""
    uplink_mbps: _Mega | None = None
    training_share: Annotated[float, Field(ge=0, le=1)] = 0
    runs: bool = True
    sustained_mflops: _Mega | None = None
    sensor: _Sensor | None = None
    raw_data_may_leave: bool = False
    sources: Mapping[str, str] = Field(default_factory=dict)


def _own(path: str, taken: Mapping[str, DeviceProfile]) -> dict[str, DeviceProfile]:
    try:
        entries = read_toml(Path(path), "catalogue")
    except TextFileError as error:
        raise FedTinyError(f"devices.catalog: {error}") from error
    try:
        boards = {name: _profile(_checked_name(name), entry) for name, entry in entries.items()}
    except FedTinyError as error:
        raise FedTinyError(f"devices.catalog: {path}: {error}") from error
    if both := sorted(boards.keys() & taken.keys()):
        raise FedTinyError(f"devices.catalog: {path} has names of ours: {', '.join(both)}")
    return boards


def _checked_name(name: str) -> str:
    """Boards are looked up by :func:`_key`: another name would never be found."""
    key = _key(check_free_text("a board's name", name))
    if key != name:
        raise FedTinyError(f"board {name!r}: a name has a-z, 0-9 and '_'; write it {key!r}")
    return name


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", name.lower())


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
    key = _key(name)
    if key not in boards:
        raise FedTinyError(f"unknown board {name!r}; known: {', '.join(boards)}")
    return boards[key]


def _million(number: float | None) -> float | None:
    return None if number is None else number * _MEGA


def _profile(name: str, entry: object) -> DeviceProfile:
    try:
        board = _Board.model_validate(entry)
    except ValidationError as error:
        (first, *_) = error.errors()
        where = ".".join([name, *map(str, first["loc"])])
        raise FedTinyError(
            f"not like fedtiny/devices/catalog.toml: {where}: {first['msg']}"
        ) from error
    for what, text in (("title", board.title), ("core", board.core)):
        check_free_text(f"{name}.{what}", text)
    internal, external = board.ram_internal_kib * _KIB, board.ram_external_kib * _KIB
    if board.sustained_mflops is not None and "sustained" not in board.sources:
        raise FedTinyError(
            f"{name}.sustained_mflops: where is it from? Say so in {name}.sources.sustained; a "
            'number that nobody measured begins with "assumed: "'
        )
    return DeviceProfile(
        sensor=_sensor(name, board),
        raw_data_may_leave=board.raw_data_may_leave,
        name=name,
        title=board.title,
        core=board.core,
        flash_bytes=None if board.flash_kib is None else board.flash_kib * _KIB,
        ram_internal_bytes=internal,
        ram_external_bytes=external,
        clock_hz=round(board.clock_mhz * _MEGA),
        uplink=board.uplink,
        uplink_bps=None if board.uplink_mbps is None else round(board.uplink_mbps * _MEGA),
        training_budget_bytes=int((external or internal) * board.training_share),
        runs=board.runs,
        sustained_flops=_million(board.sustained_mflops),
        sources=dict(board.sources),
    )


def _sensor(name: str, board: _Board) -> Sensor | None:
    if board.sensor is None:
        return None
    if "sensor" not in board.sources:
        raise FedTinyError(f"{name}.sensor: where is it from? Say so in {name}.sources.sensor")
    try:
        return Sensor(**board.sensor.model_dump())
    except SensorError as error:
        raise FedTinyError(f"{name}.sensor: {error}") from error
