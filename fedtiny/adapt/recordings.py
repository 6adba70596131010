"""A wearer's own labelled recordings: read, split by recording, cut into windows.

Arrays of the ``.npz`` file (that of ``fedtiny/data/watch`` is one, with more in it):

====== ============= =======================================================================
name   shape         meaning
====== ============= =======================================================================
counts (readings, C) int16, the recordings one after another, as the model's sensor delivers
length (R,)          readings of each recording
label  (R,)          exercise of each: a class of the model
labels (names)       optional: what the numbers in ``label`` mean, names of the model's classes
====== ============= =======================================================================

For a model of pictures there is ``x`` in place of ``counts`` and ``length``: (R, C, H, W), uint8 or
int16, as the model's camera delivers them. A picture is a recording of one window.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedtiny.adapt.recipe import AdaptError
from fedtiny.data.dataset import Dataset, SensorSpec
from fedtiny.data.errors import bad_file
from fedtiny.data.npz import integers, names
from fedtiny.data.npz_file import Arrays, read_arrays

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Recordings:
    """Labelled stretches of readings, or pictures.

    Attributes:
        readings: ``(T, C)`` of each, or ``(C, H, W)``.
        classes: int64 ``(R,)``.
    """

    readings: tuple[npt.NDArray[Any], ...]
    classes: Ints

    def take(self, rows: Ints) -> Recordings:
        """These recordings, in this order."""
        return Recordings(tuple(self.readings[row] for row in rows), self.classes[rows])


def read_recordings(path: Path, labels: tuple[str, ...], shape: tuple[int, ...]) -> Recordings:
    """The recordings of a file.

    Args:
        path: of the file.
        labels: the model's classes.
        shape: (C, H, W) of the model's input; a window of a time series has H = 1.

    Raises:
        DataError: the file cannot be read or its arrays do not fit together or the model.
        AdaptError: all recordings are of one class, or one is shorter than a window.
    """
    read = _series if shape[1] == 1 else _pictures
    return read(path, labels, shape)


def _pictures(path: Path, labels: tuple[str, ...], shape: tuple[int, ...]) -> Recordings:
    arrays = read_arrays(path, ("x", "label"))
    x = arrays["x"]
    if x.dtype not in (np.uint8, np.int16) or x.shape[1:] != shape:
        size = ", ".join(map(str, shape))
        raise bad_file(
            path, f"x is {x.dtype} {x.shape}, the model takes uint8 or int16 (N, {size})"
        )
    classes = _labelled(path, arrays, labels, len(x))
    return Recordings(tuple(x), classes)


def _series(path: Path, labels: tuple[str, ...], shape: tuple[int, ...]) -> Recordings:
    channels, _, window = shape
    arrays = read_arrays(path, ("counts", "length", "label"))
    counts, length = arrays["counts"], integers(path, arrays, "length")
    if counts.ndim != 2 or counts.dtype != np.int16 or counts.shape[1] != channels:
        raise bad_file(
            path, f"counts are {counts.dtype} {counts.shape}, the model takes int16 (N, {channels})"
        )
    if length.min(initial=1) < 1 or int(length.sum()) != len(counts):
        raise bad_file(path, f"{len(counts)} readings, lengths add to {int(length.sum())}")
    classes = _labelled(path, arrays, labels, len(length))
    short = int(np.argmin(length))
    if length[short] < window:
        raise AdaptError(
            f"{path}: recording {short} ({labels[classes[short]]}) has {length[short]} readings, "
            f"a window of the model {window}: record longer, or leave it out"
        )
    return Recordings(tuple(np.split(counts, np.cumsum(length)[:-1])), classes)


def _labelled(path: Path, arrays: Arrays, labels: tuple[str, ...], count: int) -> Ints:
    """Classes of ``count`` recordings, of two kinds at least."""
    own = names(path, arrays, "labels") if "labels" in arrays else labels
    classes = _classes(path, integers(path, arrays, "label"), own, labels)
    if len(classes) != count:
        raise bad_file(path, f"{count} recordings, {len(classes)} labels: give one of each")
    if len(np.unique(classes)) < 2:
        only = f"all are {labels[classes[0]]!r}" if len(classes) else "there are none"
        raise AdaptError(
            f"{path}: {only}: a model that learns from one class answers it always; record at "
            "least one other"
        )
    return classes


def _classes(path: Path, given: Ints, own: tuple[str, ...], labels: tuple[str, ...]) -> Ints:
    wrong = given[(given < 0) | (given >= len(own))]
    if len(wrong):
        raise bad_file(
            path,
            f"label {wrong[0]} is none of the model's classes, which are "
            f"{', '.join(f'{i} {name}' for i, name in enumerate(own))}; number recordings by these",
        )
    unknown = [own[k] for k in np.unique(given) if own[k] not in labels]
    if unknown:
        raise bad_file(
            path,
            f"{unknown[0]!r} is none of the model's classes, which are {', '.join(labels)}; a "
            "model learns its wearer, not a new class: leave these recordings out",
        )
    place = np.array([labels.index(n) if n in labels else -1 for n in own], np.int64)
    return place[given]


def split(recordings: Recordings, of_each: int | None) -> tuple[Recordings, Recordings]:
    """(to learn from, held out): by recording, never by window.

    Args:
        recordings: in the order they were made.
        of_each: recordings of each class to learn from; None: all but the last one.

    Raises:
        AdaptError: none would be held out, or some class has none to learn from.
    """
    learned: list[int] = []
    for k in np.unique(recordings.classes):
        rows = np.flatnonzero(recordings.classes == k).tolist()
        learned += rows[: max(1, len(rows) - 1) if of_each is None else of_each]
    held = np.setdiff1d(np.arange(len(recordings.classes)), learned)
    if len(held) == 0:
        raise AdaptError(
            "no recording is left to be tested on: record some exercise once more"
            + ("" if of_each is None else ", or lower --recordings")
        )
    return recordings.take(np.array(sorted(learned), np.int64)), recordings.take(held)


def windows(
    recordings: Recordings, window: int, stride: int, labels: tuple[str, ...], sensor: SensorSpec
) -> Dataset:
    """All windows of all recordings, ``stride`` readings apart; owners are recordings' numbers."""
    if recordings.readings[0].ndim == 3:
        owner = np.arange(len(recordings.classes))
        return Dataset(np.stack(recordings.readings), recordings.classes, owner, labels, sensor)
    x, y, owners = [], [], []
    for row, readings in enumerate(recordings.readings):
        for start in range(0, len(readings) - window + 1, stride):
            x.append(readings[start : start + window].T[:, None, :])
            y.append(recordings.classes[row])
            owners.append(row)
    return Dataset(np.stack(x), np.array(y), np.array(owners, np.int64), labels, sensor)
