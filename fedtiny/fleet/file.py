"""A fleet's TOML file: groups, and links and availabilities that they share by name.

Traces are read and become part of what is returned, so that nothing else is needed afterwards.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError

from fedtiny.errors import FedTinyError
from fedtiny.fleet.availability import AvailabilitySection
from fedtiny.fleet.group import Group, seats
from fedtiny.fleet.link import LinkSection
from fedtiny.fleet.traces import read_links, read_states
from fedtiny.settings import Section
from fedtiny.text_files import read_text, read_toml


class FleetError(FedTinyError):
    """A fleet's file cannot be used; the message names file, key and remedy."""


class _File(Section):
    groups: tuple[Group, ...] = Field(min_length=1)
    links: Mapping[str, LinkSection] = Field(default_factory=dict)
    availability: Mapping[str, AvailabilitySection] = Field(default_factory=dict)


def read_fleet(path: Path) -> tuple[Group, ...]:
    """The groups of a fleet's file, each complete in itself.

    Raises:
        FleetError: an unknown key, a value out of range, a name of nothing, partitions held twice.
        TextFileError: the file, or a trace's, cannot be read.
        TraceError: a trace cannot be used.
    """
    tree = read_toml(path, "fleet")
    links = {
        name: _with_trace(path, f"links.{name}", one, read_links)
        for name, one in _table(path, tree, "links").items()
    }
    states = {
        name: _with_trace(path, f"availability.{name}", one, read_states)
        for name, one in _table(path, tree, "availability").items()
    }
    groups = tree.get("groups", [])
    if not isinstance(groups, list):
        raise FleetError(f"{path}: groups: begin each group with [[groups]]")
    filled = [
        _named(path, _named(path, one, number, "link", links), number, "availability", states)
        for number, one in enumerate(groups)
    ]
    known = {**tree, "groups": filled, "links": links, "availability": states}
    try:
        file = _File.model_validate(known)
        seats(file.groups)
    except ValidationError as error:
        (first, *_) = error.errors()
        where = ".".join(map(str, first["loc"]))
        message = first["msg"].removeprefix("Value error, ")
        raise FleetError(f"{path}: {f'{where}: ' if where else ''}{message}") from None
    except ValueError as error:
        raise FleetError(f"{path}: {error}") from None
    return file.groups


def _table(path: Path, tree: Mapping[str, Any], key: str) -> dict[str, Any]:
    table = tree.get(key, {})
    if not isinstance(table, dict):
        raise FleetError(f"{path}: {key}: expected tables [{key}.NAME]")
    return table


def _with_trace(path: Path, where: str, section: Any, read: Any) -> Any:  # noqa: ANN401 - TOML
    """A section whose ``trace``, a file's name, has become ``rows``, its text."""
    if not isinstance(section, dict) or "trace" not in section:
        return section
    name = section["trace"]
    if not isinstance(name, str) or not name or "rows" in section:
        raise FleetError(f"{path}: {where}.trace: name a CSV file, and give no rows")
    trace = path.parent / name
    text = read_text(trace, "trace")
    period, every = (section.get(key, 0) for key in ("period_s", "every_s"))
    if all(type(number) in (int, float) for number in (period, every)):
        read(text, str(trace), float(period) or float("inf"), float(every))
    return {**{k: v for k, v in section.items() if k != "trace"}, "rows": text}


def _named(
    path: Path,
    group: Any,  # noqa: ANN401 - TOML
    number: int,
    key: str,
    known: Mapping[str, Any],
) -> Any:  # noqa: ANN401 - TOML
    """A group whose ``key``, a name, has become what it names."""
    if not isinstance(group, dict) or key not in group:
        return group
    where, value = f"groups.{number}.{key}", group[key]
    if isinstance(value, str):
        if value not in known:
            table = "links" if key == "link" else key
            raise FleetError(
                f"{path}: {where}: there is no [{table}.{value}]; known: "
                f"{', '.join(known) or 'none'}"
            )
        return {**group, key: known[value]}
    read = read_links if key == "link" else read_states
    return {**group, key: _with_trace(path, where, value, read)}
