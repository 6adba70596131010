"""``fedtiny node`` and ``fedtiny doctor --node``: what a device's own shell calls."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from rich.table import Column, Table

from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen, terminal_text
from fedtiny.node.bundle import read_bundle
from fedtiny.node.places import KEY, STATE
from fedtiny.node.preflight import preflight
from fedtiny.node.running import Place, run_node


def run(bundle: Path, key: Path | None, state: Path | None, port: int, authority: str) -> None:
    """Run a bundle's node until SIGTERM; errors as :func:`fedtiny.node.running.run_node`."""
    place = Place(key or Path(KEY), state or Path(STATE), port)
    run_node(read_bundle(bundle, authority), place, lambda line: print(line, flush=True))


def examine(bundle: Path, key: Path | None, authority: str, as_json: bool) -> None:
    """Print every check.

    Raises:
        FedTinyError: one of them says no.
    """
    checks = preflight(bundle, key or Path(KEY), authority)
    if as_json:
        print(json.dumps({"node": [asdict(check) for check in checks]}, indent=1))
    else:
        found, fix = Column("found", overflow="fold"), Column("to fix it", overflow="fold")
        table = Table("", "this device", found, fix)
        for check in checks:
            mark = terminal_text("yes", "green") if check.ok else terminal_text("no", "red")
            table.add_row(mark, check.name, check.detail, check.fix)
        Screen().print(table)
    if bad := [check.name for check in checks if not check.ok]:
        raise FedTinyError(f"this device cannot take part yet: {', '.join(bad)}")
