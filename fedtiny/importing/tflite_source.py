"""``fedtiny export --tflite``: an int8 model of TensorFlow Lite's."""

from __future__ import annotations

from pathlib import Path

from fedtiny.importing.imported import ImportedModel
from fedtiny.importing.integer_source import imported
from fedtiny.importing.tflite_model import read_model


def read_tflite(
    path: Path, calibration: Path | None = None, prune: float | None = None
) -> ImportedModel:
    """The model in a ``.tflite`` file, in our integers.

    Args:
        path: an int8 model of TensorFlow Lite's.
        calibration, prune: see :func:`fedtiny.importing.integer_source.imported`.

    Raises:
        FedTinyError: the file is damaged or has something that is not taken, or see there.
    """
    graph, remarks = read_model(path)
    return imported(graph, remarks, calibration, prune)
