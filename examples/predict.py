"""Run an exported model from Python: the same C, byte for byte, that the microcontroller runs."""

from pathlib import Path

import numpy as np

import fedtiny.firmware


def recognise(firmware: Path, recording: np.ndarray) -> list[str]:
    """Name what was done in each whole window of a recording, int16 ``(readings, channels)``."""
    model = fedtiny.firmware.load(firmware)  # compiled once, then found again
    channels, _, length = model.input_shape
    windows = len(recording) // length
    counts = recording[: windows * length].reshape(windows, 1, length, channels)
    return [model.labels[k] for k in model.predict(counts.transpose(0, 3, 1, 2))]
