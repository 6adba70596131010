"""What the readers of image data sets share: their sensors, checks, and errors."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.dataset import Dataset, SensorSpec
from fedtiny.data.errors import DataError, bad_file

GRAY = SensorSpec(("intensity",), ("1",), (1 / 255,))
RGB = SensorSpec(("red", "green", "blue"), ("1", "1", "1"), (1 / 255, 1 / 255, 1 / 255))

Images = NDArray[np.uint8]


def labelled(
    path: Path,
    images: Images,
    y: NDArray[np.integer],
    labels: tuple[str, ...],
    sensor: SensorSpec,
) -> Dataset:
    """Images and their classes as a data set; there are no owners, so `owner` is 0.

    Args:
        path: the file the labels come from, for errors.
        images: (N, C, H, W) uint8.
        y: (N,) integers.
        labels: name of each class.
        sensor: the meaning of the C channels.

    Raises:
        DataError: no images, or a label is out of range.
    """
    if len(y) == 0:
        raise bad_file(path, "no samples")
    wrong = np.flatnonzero((y < 0) | (y >= len(labels)))
    if len(wrong):
        row = int(wrong[0])
        raise bad_file(path, f"label {y[row]} in row {row}, but there are {len(labels)} classes")
    return Dataset(images, y.astype(np.int64), np.zeros(len(y), np.int64), labels, sensor)


def class_names(given: tuple[str, ...], own: tuple[str, ...]) -> tuple[str, ...]:
    """The config's names of a known data set's classes, or its own.

    Raises:
        DataError: too many or too few.

    >>> class_names((), ("cat", "dog")), class_names(("Katze", "Hund"), ("cat", "dog"))
    (('cat', 'dog'), ('Katze', 'Hund'))
    """
    if given and len(given) != len(own):
        raise DataError(f"{len(given)} label_names for {len(own)} classes: {', '.join(own)}")
    return given or own


def numbered(given: tuple[str, ...], y: NDArray[np.integer]) -> tuple[str, ...]:
    """The config's names of the classes, or the class numbers of the training labels.

    >>> numbered((), np.array([0, 2, 1]))
    ('0', '1', '2')
    """
    return given or tuple(str(i) for i in range(int(y.max(initial=0)) + 1))


def missing(path: Path, home: str) -> DataError:
    """The error of a file that is not there.

    Args:
        path: the file.
        home: the data set's official name and page, and what to set `path` to.
    """
    return DataError(f"{path}: no such file. {home}")
