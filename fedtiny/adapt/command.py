"""``fedtiny adapt``: a run's model learns its wearer, is saved, and exported if asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedtiny.adapt.personal import Adapted, Order, adapt
from fedtiny.boards import host
from fedtiny.devices.catalog import get
from fedtiny.escaping.terminal import Screen
from fedtiny.export.bundle import export
from fedtiny.export.run import (
    counts,
    int8_accuracy,
    integer_model,
    own_prefix,
    predictor,
    sensor_interface,
    target_for,
)
from fedtiny.firmware.planner import fit
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
        FedTinyError: no such run or board, recordings that cannot be learned from, a board without
            room, or a model that cannot be exported.
    """
    folder = RunFolder(run)
    config = folder.load_config()
    profile = get(wish.device, config.devices.catalog)
    out = wish.out or run / "adapted" / order.method.value
    found = adapt(TrainedModel.load(folder.model), order, profile)
    found.save(out)
    result = {**found.outcome.to_json(), "folder": str(out)}
    if show:
        for line in found.outcome.text():
            Screen().say(line)
    if wish.export:
        result["firmware"] = _export(found, out / "firmware", folder, wish.target)
    if show and wish.export:
        Screen().say(
            f"{out / 'firmware'}: {result['firmware']['flash_bytes']:,} B of flash, "
            f"{result['firmware']['mismatches']} mismatches in {result['firmware']['vectors']} "
            f"windows; {100 * result['firmware']['accuracy']:.1f} % in int8"
        )
    return result


def _export(found: Adapted, out: Path, folder: RunFolder, board: str | None) -> dict[str, Any]:
    config, trained = folder.load_config(), found.trained
    fitted = fit(integer_model(trained), target_for(config.devices.catalog, board, None))
    held_out = found.held_out.dataset
    interface = sensor_interface(trained.labels, trained.sensor, own_prefix(config))
    report = export(fitted.require(), out, counts(held_out), interface, fitted.target)
    checked = host.check(out)
    predict = predictor(fitted.plan.model, out, checked=True)
    return {
        **asdict(report),
        "target": fitted.target.name,
        "vectors": checked.vectors,
        "mismatches": checked.mismatches,
        "accuracy": int8_accuracy(predict, held_out),
    }
