"""MNIST as CSV, the form many course materials use: a row is the label, then 784 pixels."""

import warnings
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.folders import ending_in
from fedtiny.data.images import GRAY, Images, labelled, missing, numbered
from fedtiny.text_files import TextFileError, reading

_SIDE = 28
_COLUMNS = 1 + _SIDE * _SIDE
_LONGEST_ROW = 2**16  # a header is longer than its numbers
_HOME = (
    "MNIST (https://yann.lecun.com/exdb/mnist/) as CSV, rows of label,pixel0,…,pixel783: set path "
    "to the folder with one file *train.csv and one *test.csv"
)


def read_csv_directory(directory: Path, label_names: tuple[str, ...]) -> tuple[Dataset, Dataset]:
    """(training, test) images, (N, 1, 28, 28) uint8, no owners.

    Rows are ``label,pixel0,…,pixel783``, values 0 to 255, with or without a header. A file is
    parsed into the bytes that are kept, never into wider numbers.

    Args:
        directory: holds one file ``*train.csv`` and one ``*test.csv``.
        label_names: name of each class; empty: the class numbers of the training labels.

    Raises:
        DataError: a file is missing or there are two, a row is cut off, a value is not a byte, or
            a label is out of range.
    """
    paths = _find(directory, "train"), _find(directory, "test")
    train, test = map(_read_table, paths)
    labels = numbered(label_names, train[:, 0])
    return _dataset(paths[0], train, labels), _dataset(paths[1], test, labels)


def _find(directory: Path, part: str) -> Path:
    found = ending_in(directory, f"{part}.csv") if directory.is_dir() else []
    if not found:
        raise missing(directory / f"mnist_{part}.csv", _HOME)
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"{directory}: several files *{part}.csv ({names}); keep one")
    return found[0]


def _read_table(path: Path) -> Images:
    """(N, 785) bytes."""
    try:
        with reading(path) as file:
            first = file.readline(_LONGEST_ROW)
            _check_columns(path, first)
            lines = file if _is_header(first) else chain([first], file)
            table = _parse(path, lines)
    except TextFileError as error:
        raise DataError(str(error)) from error
    if table.shape[1:] != (_COLUMNS,):
        raise bad_file(path, "no samples")
    return table


def _check_columns(path: Path, first: str) -> None:
    columns = first.count(",") + 1
    if columns != _COLUMNS:
        semicolons = first.count(";") + 1 == _COLUMNS
        fix = "; it is separated by semicolons: save it with commas" if semicolons else ""
        raise bad_file(path, f"the first row has {columns} values, expected {_COLUMNS}{fix}")


def _is_header(row: str) -> bool:
    """Whether it begins with a word: a first row that begins with a number, right or wrong, is a
    sample."""
    first = row.partition(",")[0].strip().strip('"')
    return any(map(str.isalpha, first)) and not _is_number(first)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _parse(path: Path, lines: Iterable[str]) -> Images:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # no rows: the caller says so
            warnings.simplefilter("error", DeprecationWarning)  # some numpys cut 3.7 to 3
            return np.loadtxt(lines, np.uint8, delimiter=",", comments=None, quotechar='"', ndmin=2)
    except (ValueError, DeprecationWarning) as error:  # numpy names the row and the column
        reason = str(error).partition(";")[0]
        raise bad_file(path, f"truncated, or not bytes in every row: {reason}") from error


def _dataset(path: Path, table: Images, labels: tuple[str, ...]) -> Dataset:
    images = np.ascontiguousarray(table[:, 1:]).reshape(-1, 1, _SIDE, _SIDE)
    return labelled(path, images, table[:, 0], labels, GRAY)
