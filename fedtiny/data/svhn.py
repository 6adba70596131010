"""SVHN, cropped digits (Netzer et al. 2011): two MATLAB 5 files, 32×32 colour images."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import bad_file
from fedtiny.data.images import RGB, class_names, labelled, missing
from fedtiny.data.mat_file import read_mat

_DIGITS = tuple("0123456789")
_HOME = (
    "SVHN, format 2 (cropped digits): http://ufldl.stanford.edu/housenumbers/; set path to the "
    "folder with train_32x32.mat and test_32x32.mat"
)


def read_svhn(directory: Path, label_names: tuple[str, ...]) -> tuple[Dataset, Dataset]:
    """(training, test): 73 257 and 26 032 images, (N, 3, 32, 32) uint8, no owners.

    Class i is digit i; the files write 10 for the digit 0. The 531 131 additional samples of
    extra_32x32.mat are not read.

    Args:
        directory: holds train_32x32.mat and test_32x32.mat.
        label_names: name of each class; empty: the digits.

    Raises:
        DataError: a file is missing, truncated or malformed, or a label
            is out of range.
    """
    names = class_names(label_names, _DIGITS)
    paths = directory / "train_32x32.mat", directory / "test_32x32.mat"
    for path in paths:
        if not path.is_file():
            raise missing(path, _HOME)
    train, test = (_read(path, names) for path in paths)
    return train, test


def _read(path: Path, names: tuple[str, ...]) -> Dataset:
    """X is (32, 32, 3, N) uint8 and y (N, 1) with values 1 to 10."""
    content = read_mat(path, ("X", "y"))
    for name in ("X", "y"):
        if name not in content:
            raise bad_file(path, f"no variable {name}: is it format 2, cropped digits?")
    x: NDArray[Any] = content["X"]
    y: NDArray[Any] = content["y"]
    if x.shape[:3] != (32, 32, 3) or x.ndim != 4 or x.dtype != np.uint8:
        raise bad_file(path, f"X is {x.dtype} of shape {x.shape}, expected bytes (32, 32, 3, N)")
    if y.shape != (x.shape[3], 1):
        raise bad_file(path, f"wrong count: {x.shape[3]} images but labels of shape {y.shape}")
    if y.dtype.kind not in "iuf":
        raise bad_file(path, f"y is {y.dtype}, expected numbers")
    y = y[:, 0]
    wrong = np.flatnonzero(~np.isin(y, np.arange(1, 11)))
    if len(wrong):
        raise bad_file(path, f"label {y[wrong[0]]} in row {wrong[0]}, expected 1 to 10 (10 is 0)")
    images = np.ascontiguousarray(x.transpose(3, 2, 0, 1))
    return labelled(path, images, y.astype(np.int64) % 10, names, RGB)
