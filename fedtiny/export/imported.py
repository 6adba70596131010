"""From a network that no run of ours trained to firmware: planned, written, checked, scored."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np

from fedtiny.boards import host
from fedtiny.escaping.c_prefix import check_prefix, prefix_of
from fedtiny.export.bundle import export
from fedtiny.export.run import outcome, predictor, sensor_interface
from fedtiny.firmware.planner import Fit
from fedtiny.importing.imported import ImportedModel


def export_imported(
    imported: ImportedModel, directory: Path, fitted: Fit, check: bool = True, prefix: str = ""
) -> dict[str, Any]:
    """Write the C project of ``imported`` into ``directory`` and say what was found.

    Args:
        imported: the network.
        directory: created if need be; an earlier export there is replaced.
        fitted: its plan for a target.
        check: build the C project on this host and compare every sample.
        prefix: of the model's names in C; by default made from the network's name.

    Returns:
        ``accuracies`` (the float model's and that of ``int8``; empty without labels), remarks, and
        what ``export.json`` holds of a run.

    Raises:
        DoesNotFitError: the model does not fit the board of ``fitted``.
        FedTinyError: names that do not fit, a directory that holds something else, no compiler.
    """
    started = time.monotonic()
    prefix = check_prefix(prefix) if prefix else prefix_of(imported.integer.name)
    interface = sensor_interface(imported.labels, imported.sensor, prefix)
    firmware = export(fitted.require(), directory, imported.counts, interface, fitted.target)
    result = host.check(directory) if check else None
    return {
        "accuracies": _accuracies(imported, directory, check),
        "remarks": list(imported.remarks),
        **outcome(fitted.target, firmware, result),
        "seconds": time.monotonic() - started,
    }


def _accuracies(imported: ImportedModel, directory: Path, checked: bool) -> dict[str, float]:
    """Share of the labelled samples that each form of the network gets right."""
    if imported.y is None:
        return {}
    predicted = predictor(imported.integer, directory, checked)(imported.counts)
    return {**imported.accuracies, "int8": float(np.mean(predicted == imported.y))}
