"""What changes a config's tree before it is read: ``--set section.key=value``, a fleet's file."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fedtiny.errors import FedTinyError
from fedtiny.fleet.file import read_fleet
from fedtiny.settings import ConfigError

_FLEET = "devices.fleet"


def overridden(tree: Mapping[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of ``tree`` in which ``section.key=value`` holds; a fleet replaces the groups.

    Raises:
        ConfigError: one has no ``=``, or its section is a value.
    """
    changed: dict[str, Any] = copy.deepcopy(dict(tree))
    devices = changed.get("devices")
    if isinstance(devices, dict) and any(o.partition("=")[0].strip() == _FLEET for o in overrides):
        devices.pop("groups", None)
    for override in overrides:
        _apply(changed, override)
    return changed


def with_groups(tree: dict[str, Any], where: str, folder: Path) -> dict[str, Any]:
    """``tree`` with the groups of the fleet whose file it names.

    Args:
        tree: as read, or with overrides.
        where: the tree is from, for the message.
        folder: that the file's name starts from: the config's own, or where an override was typed.

    Raises:
        ConfigError: the fleet cannot be used.
    """
    devices = tree.get("devices")
    if not isinstance(devices, dict) or not devices.get("fleet"):
        return tree
    devices = {key: value for key, value in devices.items() if key != "groups"}
    if isinstance(name := devices["fleet"], str):
        try:
            groups = read_fleet(folder / Path(name).expanduser())
        except FedTinyError as error:
            raise ConfigError(f"{where}: devices.fleet: {error}") from error
        devices["fleet"] = []
        devices["groups"] = [one.model_dump(mode="json", exclude_unset=True) for one in groups]
    return {**tree, "devices": devices}


def _apply(tree: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator:
        raise ConfigError(f"--set {override!r}: write key=value, e.g. pruning.density=0.01")
    *sections, leaf = key.strip().split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise ConfigError(f"--set {override!r}: {section!r} is a value, not a section")
    tree[leaf] = _value(text.strip())


def _value(text: str) -> Any:  # noqa: ANN401 - any TOML value
    """A TOML value; anything that is not one is a bare string."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text
