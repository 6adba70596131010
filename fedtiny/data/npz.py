"""Your own data: one ``.npz`` file, read without pickle.

Arrays in the file:

========== ======================= =====================================================
name       shape                   meaning
========== ======================= =====================================================
x          (N, C, H, W)            integers that fit int16, or floats together with `scale`
y          (N,) integers           classes 0, 1, …
owner      (N,) integers           optional: person, device or site (all 0 without it)
x_test     (M, C, H, W)            optional: a test set of its own, with `y_test`
y_test     (M,) integers           optional
owner_test (M,) integers           optional: whose test samples they are (all 0 without it)
labels     (classes,) strings      optional: class names
channels   (C,) strings            optional: channel names
units      (C,) strings            optional: physical units
scale      (C,) floats > 0         physical units per count; floats are divided by it
========== ======================= =====================================================

Time series have H = 1. Float samples are rounded to counts because the device that will run the
model delivers counts: `scale` is that of its sensor, e.g. ``np.full(C, 8 / 32768)`` for ±8 g.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.dataset import Counts, Dataset, SensorSpec
from fedtiny.data.errors import bad_file

Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Kind:
    """What all samples of a file have in common.

    Attributes:
        shape: (C, H, W).
        labels: name of each class.
        sensor: the meaning of the C channels.
    """

    shape: tuple[int, ...]
    labels: tuple[str, ...]
    sensor: SensorSpec


def read_arrays(path: Path, required: tuple[str, ...]) -> Arrays:
    """Every array of an npz file, by name; never unpickles.

    Raises:
        DataError: missing, not an npz, truncated or corrupt, pickled, or without a required array.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: np.asarray(archive[name]) for name in archive.files}
    except FileNotFoundError as error:
        raise bad_file(path, "no such file") from error
    except OSError as error:
        raise bad_file(path, f"cannot be read: {error}") from error
    except (ValueError, TypeError) as error:
        raise bad_file(path, f"not an npz file of plain arrays: {error}") from error
    except Exception as error:  # damage leads to errors of every kind
        raise bad_file(path, f"truncated or corrupt: {error}") from error
    missing = [name for name in required if name not in arrays]
    if missing:
        raise bad_file(path, f"no array named {', '.join(missing)}; found {', '.join(arrays)}")
    return arrays


def read_npz(path: Path, label_names: tuple[str, ...] = ()) -> tuple[Dataset, Dataset | None]:
    """(samples, the file's own test set or None); see the module for the file's arrays.

    Args:
        path: the file.
        label_names: name of each class; empty: the file's `labels`, or the class numbers.

    Raises:
        DataError: the file, named with the reason: unreadable, arrays missing or of unequal
            count, NaN or infinity, counts beyond int16, labels out of range.
    """
    arrays = read_arrays(path, ("x", "y"))
    return read_samples(path, arrays, label_names)


def read_samples(
    path: Path, arrays: Arrays, label_names: tuple[str, ...]
) -> tuple[Dataset, Dataset | None]:
    """:func:`read_npz` of arrays that were read already."""
    kind = kind_of(path, arrays, "", label_names)
    data = labelled(path, arrays, "", kind)
    if len(data) == 0:
        raise bad_file(path, "no samples")
    return data, labelled(path, arrays, "_test", kind) if "x_test" in arrays else None


def kind_of(path: Path, arrays: Arrays, suffix: str, label_names: tuple[str, ...]) -> Kind:
    """What a file says of all its samples, and for the rest what arrays ``x`` and ``y`` tell.

    Args:
        path: the file, for errors.
        arrays: its content.
        suffix: of the ``x`` and ``y`` that are there.
        label_names: name of each class; empty: the file's ``labels``, or the class numbers.

    Raises:
        DataError: these are of the wrong shape or type, or no sensor's.
    """
    sensor = _sensor(path, arrays, f"x{suffix}")
    y = _integers(path, arrays, f"y{suffix}")
    labels = label_names or tuple(str(name) for name in np.atleast_1d(arrays.get("labels", ())))
    labels = labels or tuple(str(i) for i in range(int(y.max(initial=-1)) + 1))
    return Kind(arrays[f"x{suffix}"].shape[1:], labels, sensor)


def labelled(path: Path, arrays: Arrays, suffix: str, kind: Kind) -> Dataset:
    """The samples in arrays ``x``, ``y`` and, if there, ``owner``, each with ``suffix``.

    Raises:
        DataError: an array is missing, of another count, shape or type, or out of range.
    """
    x, y, owner = (f"{name}{suffix}" for name in ("x", "y", "owner"))
    if y not in arrays:
        raise bad_file(path, f"{x} without {y}")
    samples, classes = _counts(path, arrays, x), _integers(path, arrays, y)
    owners = _integers(path, arrays, owner) if owner in arrays else np.zeros_like(classes)
    for name, values in ((y, classes), (owner, owners)):
        if len(values) != len(samples):
            raise bad_file(
                path, f"wrong count: {len(values)} entries in {name} for {len(samples)} samples"
            )
    if samples.shape[1:] != kind.shape:
        raise bad_file(path, f"{x} has samples of shape {samples.shape[1:]}, others {kind.shape}")
    _check_classes(path, y, classes, kind.labels)
    return Dataset(samples, classes, owners.astype(np.int32), kind.labels, kind.sensor)


def _sensor(path: Path, arrays: Arrays, name: str) -> SensorSpec:
    x = arrays[name]
    if x.ndim != 4:
        raise bad_file(
            path,
            f"{name} has shape {x.shape}, expected (N, C, H, W); for time series reshape to H = 1",
        )
    if np.issubdtype(x.dtype, np.floating) and "scale" not in arrays:
        raise bad_file(
            path,
            f"{name} is float: store sensor counts as int16, or add scale (C,), units per count, "
            f"e.g. np.abs({name}).max(axis=(0, 2, 3)) / 32767",
        )
    channels = x.shape[1]
    described = {
        "channels": tuple(str(i) for i in range(channels)),
        "units": ("1",) * channels,
        "scale": (1.0,) * channels,
    } | {
        key: tuple(np.atleast_1d(arrays[key]).tolist())
        for key in ("channels", "units", "scale")
        if key in arrays
    }
    for key, values in described.items():
        if len(values) != channels:
            raise bad_file(path, f"{key} has {len(values)} entries for {channels} channels")
    numbers = all(isinstance(scale, int | float) for scale in described["scale"])
    if not numbers or not all(0 < scale < np.inf for scale in described["scale"]):
        raise bad_file(path, f"scale must be positive and finite, got {described['scale']}")
    return SensorSpec(**described)


def _counts(path: Path, arrays: Arrays, name: str) -> Counts:
    """The array as uint8 or int16 counts."""
    x = arrays[name]
    if x.ndim != 4:
        raise bad_file(path, f"{name} has shape {x.shape}, expected (N, C, H, W)")
    if np.issubdtype(x.dtype, np.floating):
        finite = np.isfinite(x)
        if not finite.all():
            row = int(np.argwhere(~finite)[0, 0])
            bad = int(x.size - np.count_nonzero(finite))
            raise bad_file(path, f"{name} has {bad} NaN or infinite values, first in row {row}")
        x = np.rint(x / np.asarray(arrays["scale"], np.float64)[:, None, None])
    elif not np.issubdtype(x.dtype, np.integer):
        raise bad_file(path, f"{name} has type {x.dtype}, expected integers or floats")
    if x.dtype == np.uint8:
        return x
    low, high = np.iinfo(np.int16).min, np.iinfo(np.int16).max
    if x.size and (x.min() < low or x.max() > high):
        raise bad_file(
            path, f"{name} spans counts {x.min():.0f} to {x.max():.0f}, beyond int16: raise scale"
        )
    return x.astype(np.int16, copy=False)


def _integers(path: Path, arrays: Arrays, name: str) -> NDArray[np.int64]:
    values = arrays[name]
    if not np.issubdtype(values.dtype, np.integer) or values.ndim != 1:
        raise bad_file(
            path, f"{name} is {values.dtype} of shape {values.shape}, expected (N,) integers"
        )
    return values.astype(np.int64)


def _check_classes(path: Path, name: str, y: NDArray[np.int64], labels: tuple[str, ...]) -> None:
    wrong = np.flatnonzero((y < 0) | (y >= len(labels)))
    if len(wrong):
        raise bad_file(
            path,
            f"{name} has label {y[wrong[0]]} in row {wrong[0]}, "
            f"but there are {len(labels)} classes",
        )
