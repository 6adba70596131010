"""``fedtiny adapt``: a run's model learns its wearer, is saved, and exported if asked for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fedtiny.adapt.personal import Order, adapt
from fedtiny.devices.catalog import get
from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel


@dataclass(frozen=True, slots=True)
class Wish:
    """What else is asked for.

    Attributes:
        device: board of the catalogue whose budget holds.
        out: folder of the adapted model; None: ``RUN/adapted/METHOD``.
        export: write its C project there, too, and check it on this host.
        target: board that the project is planned for; None: any Cortex-M4.
    """

    device: str
    out: Path | None = None
    export: bool = False
    target: str | None = None


def adapt_run(run: Path, order: Order, wish: Wish, show: bool) -> dict[str, Any]:
    """Adapt, save, export; returns what ``--json`` prints.

    Raises:
        FedTinyError: no such run or board, a board for a project that is not asked for, recordings
            that cannot be learned from, a board without room, or a model that cannot be exported.
    """
    folder = RunFolder(run)
    config = folder.load_config()
    profile = get(wish.device, config.devices.catalog)
    if wish.target is not None:
        if not wish.export:
            raise FedTinyError("--target is the C project's board: say --export, too")
        get(wish.target, config.devices.catalog)
    out = wish.out or folder.adapted(order.method.value).path
    found = adapt(TrainedModel.load(folder.model), order, profile)
    found.save(out)
    outcome = found.outcome
    if wish.export:
        from fedtiny.adapt.exporting import export_adapted  # noqa: PLC0415 - base installations lack the firmware extra

        firmware = export_adapted(found, out / "firmware", folder, wish.target)
        outcome = replace(outcome, firmware=firmware)
        outcome.write(out)
    if show:
        for line in outcome.text():
            Screen().say(line)
    return {**outcome.to_json(), "folder": str(out)}
