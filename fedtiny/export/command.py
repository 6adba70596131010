"""``fedtiny export``: a run's model or a network of one's own, planned, shown and written."""

from __future__ import annotations

import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedtiny.errors import FedTinyError
from fedtiny.export.imported import export_imported
from fedtiny.export.places import chosen_part, place_of
from fedtiny.export.run import Learning, export_run, fit_run, target_for
from fedtiny.export.tables import fit_dictionary, print_fit, print_found, print_remarks
from fedtiny.firmware.planner import Fit, fit
from fedtiny.importing.sources import Source
from fedtiny.runs import identity
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.identity import Part


@dataclass(frozen=True, slots=True)
class Order:
    """What to make of a model, whichever it is.

    Attributes:
        out: folder for the C project; None for a run's own.
        check: build it on this host and compare every sample.
        device: a board of the catalogue to plan for.
        core: in place of a board: any with this core.
        report: only say what it would cost.
        prefix: of the model's names in C; empty: made from its name.
        tier: the part of a run's model that this board, or folder of its ``tiers``, holds; empty:
            all of it.
        adapted: the model as this method adapted it, see ``fedtiny adapt``; empty: as it was.
        weight_bits: of a run's sparse layers, 4 or 8; None for the config's.
    """

    out: Path | None = None
    check: bool = True
    device: str | None = None
    core: str | None = None
    report: bool = False
    prefix: str = ""
    tier: str = ""
    adapted: str = ""
    weight_bits: int | None = None


def export_trained(
    folder: RunFolder,
    order: Order,
    accept: Collection[Part],
    show: bool,
    learning: Learning | None = None,
) -> dict[str, Any]:
    """A finished run's model to its ``firmware/``; see :func:`fedtiny.export.run.export_run`.

    Args:
        folder: of the run.
        order: what to make of it.
        accept: what may differ from what the run was begun with, or left.
        show: print tables for people.
        learning: what it learns on the device, if anything.

    Raises:
        FedTinyError: also if a folder was named: a run has its own; or an adapted model is to
            learn.
    """
    if order.out is not None:
        raise FedTinyError(
            f"--out is for networks of your own: a run's project is written to {folder.firmware}"
        )
    if learning is not None and order.adapted:
        raise FedTinyError(
            f"--adapted {order.adapted} and --learn: what learns on a board starts from the run's "
            "own model; leave one out"
        )
    identity.verify(folder, accept)
    place = place_of(folder, order.tier, order.adapted)
    fitted = fit_run(folder, order.device, order.core, place, learning, order.weight_bits)
    if show:
        print_fit(fitted)
        part = chosen_part(folder) if place == folder else None
        print_remarks([f"the run's model is the part that devices chose: {part}"] if part else [])
    if order.report:
        return fit_dictionary(fitted)
    with folder.locked("fedtiny export"):
        found = export_run(folder, order.check, fitted, order.prefix, accept, place, learning)
    return _shown(found, place.firmware, show)


def export_network(source: Source, order: Order, show: bool) -> dict[str, Any]:
    """A network that no run trained to the folder that was named.

    Raises:
        FedTinyError: no network or no folder was named, or see
            :func:`fedtiny.export.imported.export_imported`.
    """
    of_runs = {"--tier": order.tier, "--adapted": order.adapted, "--weight-bits": order.weight_bits}
    for option, given in of_runs.items():
        if given:
            raise FedTinyError(f"{option} is of a run's model: name a run folder, too")
    if not source.named:
        raise FedTinyError("name a run folder, or a network with " + Source.OPTIONS)
    if order.out is None and not order.report:
        raise FedTinyError("name a folder for the C project: --out DIR")
    sys.path.append(str(Path.cwd()))  # where one's own modules lie; `python -m` sees them anyway
    imported = source.read()
    fitted: Fit = fit(imported.integer, target_for("", order.device, order.core))
    if show:
        print_fit(fitted)
        print_remarks(imported.remarks)
    if order.report or order.out is None:
        return fit_dictionary(fitted)
    found = export_imported(imported, order.out, fitted, order.check, order.prefix)
    return _shown(found, order.out, show)


def _shown(found: dict[str, Any], folder: Path, show: bool) -> dict[str, Any]:
    if show:
        print_found(found, folder)
    return found
