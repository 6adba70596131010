"""Samples that a foreign network is calibrated and checked with: one ``.npz``.

Firmware takes sensor counts, int16; a network takes what it was trained on. The file says how one
becomes the other, for each channel: ``input = counts · scale + offset``.

======== =================== ====================================================================
name     shape               meaning
======== =================== ====================================================================
x        (N, …)              integers: sensor counts, within int16. Floats: what the network takes;
                             counts are ``round((x − offset) / scale)``, and the network is measured
                             on what these counts become
y        (N,) whole numbers  optional: the class of each sample, for accuracies
scale    (C,) floats > 0     input per count; 1 for integers, required for floats
offset   (C,) floats         optional: input where the count is 0; 0
labels   (outputs,) strings  optional: name of each output
channels (C,) strings        optional
units    (C,) strings        optional; "of the network's input"
======== =================== ====================================================================

Samples have the shape that the network takes: (C, H, W), (C, T) for a series, or (F,) for plain
features, each of which then is a channel. One number in ``scale`` or ``offset`` stands for all
channels.

Images of bytes that were trained as ``(x / 255 − mean) / std``: store the bytes, with ``scale = 1 /
(255·std)`` and ``offset = −mean / std``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.dataset import Dataset, Indices, SensorSpec
from fedtiny.data.errors import bad_file
from fedtiny.data.labels import check_names
from fedtiny.data.npz import integers, names, sensor_of
from fedtiny.data.npz_file import Arrays, read_arrays
from fedtiny.data.samples import Samples
from fedtiny.data.statistics import Normalization
from fedtiny.models.ops.tensor import lifted
from fedtiny.quant.tensors import Int16s

_INT16 = np.iinfo(np.int16)


@dataclass(frozen=True, slots=True, eq=False)
class Calibration:
    """Samples in counts, and what they are to the network.

    Attributes:
        shape: of one sample, as the network takes it.
        counts: int16 ``(N, C, H, W)``.
        y: class of each sample, ``(N,)``, or None.
        labels: name of each output, or empty.
        sensor: of the channels.
        normalization: counts to what the network takes.
    """

    shape: tuple[int, ...]
    counts: Int16s
    y: Indices | None
    labels: tuple[str, ...]
    sensor: SensorSpec
    normalization: Normalization

    def samples(self, outputs: int) -> Samples:
        """As trainers take them; samples without labels count as of class 0.

        Args:
            outputs: of the network.
        """
        zeros = np.zeros(len(self.counts), np.int64)
        y = zeros if self.y is None else self.y
        data = Dataset(self.counts, y, zeros, self.names(outputs), self.sensor)
        return Samples(data, self.normalization)

    def names(self, outputs: int) -> tuple[str, ...]:
        """A name for each of so many outputs: the file's, or numbers."""
        return self.labels or tuple(str(i) for i in range(outputs))


def read_calibration(path: Path) -> Calibration:
    """The samples of a file; see the module for its arrays.

    Raises:
        DataError: the file, named with the reason: unreadable, no samples, of another shape or
            type, NaN or infinity, counts beyond int16, floats without ``scale``.
    """
    arrays = read_arrays(path, ("x",))
    x = arrays["x"]
    shape = lifted(x.shape[1:])
    if shape is None or 0 in x.shape:
        raise bad_file(path, f"x has shape {x.shape}, expected (N, C, H, W), (N, C, T) or (N, F)")
    scale, offset = _affine(path, arrays, x, shape[0])
    counts = _counts(path, x.reshape(len(x), *shape), scale, offset)
    described = {"units": _units(offset), **arrays, "scale": scale}
    sensor = sensor_of(path, described, shape[0])
    return Calibration(
        x.shape[1:],
        counts,
        _classes(path, arrays, len(x)),
        _labels(path, arrays),
        sensor,
        Normalization((-offset / scale).astype(np.float32), (1 / scale).astype(np.float32)),
    )


def _affine(
    path: Path, arrays: Arrays, x: NDArray[np.generic], channels: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(scale, offset), each (C,)."""
    if x.dtype.kind == "f" and "scale" not in arrays:
        raise bad_file(
            path,
            "x is float: add scale (C,), what one sensor count is to the network, e.g. 1 / 255 "
            "for images of bytes, or np.abs(x).max() / 32767 where any will do",
        )
    found = []
    for name, default in (("scale", 1.0), ("offset", 0.0)):
        values = np.atleast_1d(arrays.get(name, np.array(default)))
        if values.dtype.kind not in "iuf" or values.shape not in ((1,), (channels,)):
            raise bad_file(
                path, f"{name} is {values.dtype} of shape {values.shape}, expected ({channels},)"
            )
        if not np.isfinite(values).all():
            raise bad_file(path, f"{name} is not finite: {values.tolist()!s:.200}")
        found.append(np.broadcast_to(values.astype(np.float64), (channels,)))
    scale, offset = found
    if not (scale > 0).all():
        raise bad_file(path, f"scale must be positive, got {scale.tolist()!s:.200}")
    return scale, offset


def _units(offset: NDArray[np.float64]) -> NDArray[np.str_]:
    """Where the file names none: what the network takes is all that is known."""
    texts = [f"of the network's input{f', {shift:+g}' if shift else ''}" for shift in offset]
    return np.array(texts)


def _counts(
    path: Path,
    x: NDArray[np.generic],
    scale: NDArray[np.float64],
    offset: NDArray[np.float64],
) -> Int16s:
    if x.dtype.kind not in "iuf":
        raise bad_file(path, f"x has type {x.dtype}, expected integers or floats")
    counts: NDArray[np.generic] = x
    if x.dtype.kind == "f":
        wide = x.astype(np.float64)
        if not np.isfinite(wide).all():
            raise bad_file(path, "x has NaN or infinite values: leave these samples out")
        counts = np.rint((wide - offset[:, None, None]) / scale[:, None, None])
    low, high = float(counts.min()), float(counts.max())
    if low < _INT16.min or high > _INT16.max:
        raise bad_file(path, f"x spans counts {low:.0f} to {high:.0f}, beyond int16: raise scale")
    return counts.astype(np.int16)


def _classes(path: Path, arrays: Arrays, samples: int) -> Indices | None:
    if "y" not in arrays:
        return None
    y = integers(path, arrays, "y")
    if len(y) != samples:
        raise bad_file(path, f"wrong count: {len(y)} entries in y for {samples} samples")
    if y.min() < 0:
        raise bad_file(path, f"y is {y.min()} somewhere: classes are numbered from 0")
    return y


def _labels(path: Path, arrays: Arrays) -> tuple[str, ...]:
    if "labels" not in arrays:
        return ()
    labels = names(path, arrays, "labels")
    check_names(labels)
    return labels
