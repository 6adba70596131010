"""Your own data: one ``.npz`` file, read without pickle.

Arrays in the file:

========== ======================= =====================================================
name       shape                   meaning
========== ======================= =====================================================
x          (N, C, H, W)            integers that fit int16, or floats together with `scale`
y          (N,) whole numbers      classes 0, 1, …, or what `data.label_map` maps to them
owner      (N,) whole numbers ≥ 0  optional: person, device or site (all 0 without it)
x_test     (M, C, H, W)            optional: a test set of its own, with `y_test`
y_test     (M,) whole numbers      optional
owner_test (M,) whole numbers ≥ 0  optional: whose test samples they are (all 0 without it)
labels     (classes,) strings      optional: class names, no two alike
channels   (C,) strings            optional: channel names
units      (C,) strings            optional: physical units
scale      (C,) floats > 0         physical units per count; floats are divided by it
========== ======================= =====================================================

``recording``, ``start`` and ``length`` say which samples overlap: :mod:`fedtiny.data.npz_spans`.

Numbers may be of any width and order of bytes, strings of either type (``S`` is read as UTF-8);
what would lose a value on the way is refused.

Time series have H = 1. Float samples are rounded to counts because the device that will run the
model delivers counts: `scale` is that of its sensor, e.g. ``np.full(C, 8 / 32768)`` for ±8 g.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.dataset import MAX_OWNER, Counts, Dataset, SensorSpec
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.labels import LabelMap, check_names, check_range
from fedtiny.data.npz_file import Arrays, read_arrays
from fedtiny.data.npz_spans import spans_of
from fedtiny.data.spans import Spans

Recorded = tuple[Dataset, Spans, Dataset | None]
"""Samples, which of them overlap, and the test set that their files bring, if they do."""

_INT64 = np.iinfo(np.int64)
_INT16 = np.iinfo(np.int16)
_AS_THEY_ARE = LabelMap()


@dataclass(frozen=True, slots=True)
class Kind:
    """What all samples of a file have in common.

    Attributes:
        shape: (C, H, W).
        labels: name of each class.
        sensor: the meaning of the C channels.
        label_map: which class a label in the file means.
    """

    shape: tuple[int, ...]
    labels: tuple[str, ...]
    sensor: SensorSpec
    label_map: LabelMap = _AS_THEY_ARE


def read_npz(
    path: Path, label_names: tuple[str, ...] = (), label_map: LabelMap = _AS_THEY_ARE
) -> Recorded:
    """What the file holds; see the module for its arrays.

    Args:
        path: the file.
        label_names: name of each class; empty: the file's `labels`, or the labels' numbers.
        label_map: which class a label in the file means.

    Raises:
        DataError: the file, named with the reason: unreadable, arrays missing or of unequal
            count, NaN or infinity, counts beyond int16, labels out of range.
    """
    arrays = read_arrays(path, ("x", "y"))
    return read_samples(path, arrays, label_names, label_map)


def read_samples(
    path: Path, arrays: Arrays, label_names: tuple[str, ...], label_map: LabelMap = _AS_THEY_ARE
) -> Recorded:
    """:func:`read_npz` of arrays that were read already."""
    kind = kind_of(path, arrays, "", label_names, label_map)
    data = labelled(path, arrays, "", kind)
    if len(data) == 0:
        raise bad_file(path, "no samples")
    spans = spans_of(path, arrays, len(data))
    odd = [f"{name}_test" for name in ("y", "owner") if f"{name}_test" in arrays]
    if "x_test" not in arrays:
        if odd:
            raise bad_file(path, f"{odd[0]} without x_test")
        return data, spans, None
    test = labelled(path, arrays, "_test", kind)
    if len(test) == 0:
        raise bad_file(path, "x_test has no samples: remove it and y_test")
    return data, spans, test


def kind_of(
    path: Path,
    arrays: Arrays,
    suffix: str,
    label_names: tuple[str, ...],
    label_map: LabelMap = _AS_THEY_ARE,
) -> Kind:
    """What a file says of all its samples, and for the rest what arrays ``x`` and ``y`` tell.

    Args:
        path: the file, for errors.
        arrays: its content.
        suffix: of the ``x`` and ``y`` that are there.
        label_names: name of each class; empty: the file's ``labels``, or the labels' numbers.
        label_map: which class a label in the file means.

    Raises:
        DataError: these are of the wrong shape or type, or no sensor's.
    """
    sensor = _sensor(path, arrays, f"x{suffix}")
    name = f"y{suffix}"
    labels = label_names or (names(path, arrays, "labels") if "labels" in arrays else ())
    if not labels:
        classes = label_map.classes(path, name, integers(path, arrays, name))
        labels = label_map.names(path, name, classes)
    try:
        check_names(labels)
    except DataError as error:
        raise bad_file(path, str(error)) from error
    return Kind(arrays[f"x{suffix}"].shape[1:], labels, sensor, label_map)


def labelled(path: Path, arrays: Arrays, suffix: str, kind: Kind) -> Dataset:
    """The samples in arrays ``x``, ``y`` and, if there, ``owner``, each with ``suffix``.

    Raises:
        DataError: an array is missing, of another count, shape or type, or out of range.
    """
    x, y, owner = (f"{name}{suffix}" for name in ("x", "y", "owner"))
    if y not in arrays:
        raise bad_file(path, f"{x} without {y}")
    samples, labels = _counts(path, arrays, x), integers(path, arrays, y)
    owners = integers(path, arrays, owner) if owner in arrays else np.zeros_like(labels)
    for name, values in ((y, labels), (owner, owners)):
        if len(values) != len(samples):
            raise bad_file(
                path, f"wrong count: {len(values)} entries in {name} for {len(samples)} samples"
            )
    if samples.shape[1:] != kind.shape:
        raise bad_file(path, f"{x} has samples of shape {samples.shape[1:]}, others {kind.shape}")
    classes = kind.label_map.classes(path, y, labels)
    check_range(path, y, classes, len(kind.labels), kind.label_map)
    _check_owners(path, owner, owners)
    return Dataset(samples, classes, owners, kind.labels, kind.sensor)


def integers(path: Path, arrays: Arrays, name: str) -> NDArray[np.int64]:
    """An array (N,) of whole numbers, which may be stored as floats.

    Raises:
        DataError: of another shape or type, or a number that is not whole or beyond 64 bits.
    """
    values = arrays[name]
    if values.ndim != 1:
        raise bad_file(path, f"{name} has shape {values.shape}, expected (N,)")
    if values.dtype.kind not in "biuf":
        raise bad_file(
            path,
            f"{name} is {values.dtype} of shape {values.shape}, expected (N,) integers; number "
            f"what has names: names, {name} = np.unique({name}, return_inverse=True)",
        )
    if values.dtype.kind == "f":
        wide = values.astype(np.float64)  # longer floats: more digits than any id has
        wrong = ~np.isfinite(wide) | (wide != np.rint(wide)) | (np.abs(wide) > 2.0**53)
    else:
        wrong = values > _INT64.max
    if wrong.any():
        row = int(np.argmax(wrong))
        raise bad_file(
            path, f"{name} is {values.dtype}: {values[row]} in row {row} is no integer of 64 bits"
        )
    return values.astype(np.int64)


def names(path: Path, arrays: Arrays, key: str) -> tuple[str, ...]:
    """An array of strings, of either type, or of whole numbers.

    Raises:
        DataError: of another shape or type, or bytes that are no UTF-8.
    """
    values = np.atleast_1d(arrays[key])
    if values.ndim != 1 or values.dtype.kind not in "SUiu":
        raise bad_file(
            path, f"{key} is {values.dtype} of shape {values.shape}, expected a row of names"
        )
    try:
        return tuple(
            one.decode() if isinstance(one, bytes) else str(one) for one in values.tolist()
        )
    except UnicodeDecodeError as error:
        raise bad_file(
            path, f"{key} holds {error.object!r}, which is not UTF-8; save them as dtype=str"
        ) from error


def _check_owners(path: Path, name: str, owners: NDArray[np.int64]) -> None:
    wrong = np.flatnonzero((owners < 0) | (owners > MAX_OWNER))
    if len(wrong):
        raise bad_file(
            path,
            f"{name} is {owners[wrong[0]]} in row {wrong[0]}, expected 0 to 2⁵³: number them, "
            f"_, {name} = np.unique({name}, return_inverse=True)",
        )


def _sensor(path: Path, arrays: Arrays, name: str) -> SensorSpec:
    x = arrays[name]
    if x.ndim != 4:
        raise bad_file(
            path,
            f"{name} has shape {x.shape}, expected (N, C, H, W); for time series reshape to H = 1",
        )
    if 0 in x.shape[1:]:
        raise bad_file(path, f"{name} has shape {x.shape}: its samples have no values")
    if x.dtype.kind == "f" and "scale" not in arrays:
        raise bad_file(
            path,
            f"{name} is float: store sensor counts as int16, or add scale (C,), units per count, "
            f"e.g. np.abs({name}).max(axis=(0, 2, 3)) / 32767",
        )
    return sensor_of(path, arrays, x.shape[1])


def sensor_of(path: Path, arrays: Arrays, channels: int) -> SensorSpec:
    """What ``channels``, ``units`` and ``scale`` say, where they are there.

    Raises:
        DataError: one is of another type or count, or no sensor's.
    """
    described: dict[str, tuple[Any, ...]] = {
        "channels": tuple(str(i) for i in range(channels)),
        "units": ("1",) * channels,
        "scale": _scale(path, arrays) if "scale" in arrays else (1.0,) * channels,
    }
    described |= {key: names(path, arrays, key) for key in ("channels", "units") if key in arrays}
    for key, values in described.items():
        if len(values) != channels:
            raise bad_file(path, f"{key} has {len(values)} entries for {channels} channels")
    try:
        return SensorSpec(**described)
    except DataError as error:
        raise bad_file(path, str(error)) from error


def _scale(path: Path, arrays: Arrays) -> tuple[float, ...]:
    scale = np.atleast_1d(arrays["scale"])
    if scale.ndim != 1 or scale.dtype.kind not in "iuf":
        raise bad_file(path, f"scale is {scale.dtype} of shape {scale.shape}, expected (C,) floats")
    values = tuple(map(float, scale))
    if not all(0 < value < np.inf for value in values):
        raise bad_file(path, f"scale must be positive and finite, got {values!s:.200}")
    return values


def _counts(path: Path, arrays: Arrays, name: str) -> Counts:
    """The array as uint8 or int16 counts."""
    x = arrays[name]
    if x.ndim != 4:
        raise bad_file(path, f"{name} has shape {x.shape}, expected (N, C, H, W)")
    if x.dtype.kind == "f":
        finite = np.isfinite(x)
        if not finite.all():
            row = int(np.argwhere(~finite)[0, 0])
            bad = int(x.size - np.count_nonzero(finite))
            raise bad_file(path, f"{name} has {bad} NaN or infinite values, first in row {row}")
        if "scale" not in arrays:
            raise bad_file(path, f"{name} is float: store sensor counts as int16, or add scale")
        with np.errstate(over="ignore"):  # infinity is beyond int16, too
            x = np.rint(x / np.array(_scale(path, arrays))[:, None, None])
    elif x.dtype.kind not in "iu":
        raise bad_file(path, f"{name} has type {x.dtype}, expected integers or floats")
    if x.dtype == np.uint8:
        return x
    if x.size and (x.min() < _INT16.min or x.max() > _INT16.max):
        raise bad_file(
            path, f"{name} spans counts {x.min():.0f} to {x.max():.0f}, beyond int16: raise scale"
        )
    return x.astype(np.int16, copy=False)
