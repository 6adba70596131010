"""The C project of an adapted model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from fedtiny.adapt.personal import Adapted
from fedtiny.boards import host
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


def export_adapted(
    found: Adapted, out: Path, folder: RunFolder, board: str | None
) -> dict[str, Any]:
    """Write ``found`` as a C project into ``out`` and check it on this host; what was found.

    Args:
        found: the adapted model.
        out: folder of the project.
        folder: of the run it came from, for its names.
        board: that the project is planned for; None: any Cortex-M4.

    Raises:
        FedTinyError: the model cannot be exported, does not fit, or a tool is missing.
    """
    config, trained = folder.load_config(), found.trained
    integer = integer_model(trained, config.export.weight_bits)
    fitted = fit(integer, target_for(config.devices.catalog, board, None))
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
