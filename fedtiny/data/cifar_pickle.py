"""The pickled batches of CIFAR's Python version, read without running what a pickle asks for.

They were written by Python 2: a dictionary of byte strings, lists and one numpy array. Unpickling
looks up functions by name, which is how a hostile file runs code; here nothing is looked up
(:mod:`fedtiny.data.pickle_machine`), names outside a table of five are refused, and the array is
made afterwards of what it would be called with, checked.
"""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedtiny.data import pickle_machine
from fedtiny.data.errors import bad_file
from fedtiny.data.images import Images
from fedtiny.data.pickle_machine import Call, Name, PickleError

_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"),  # numpy 1's name
    ("numpy._core.multiarray", "_reconstruct"),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),  # Python 3 writes bytes so
}
_INT64 = 2**63


def read_batch(path: Path, row_bytes: int, label_key: str) -> tuple[Images, NDArray[np.integer]]:
    """(N, row_bytes) uint8 ``data`` and the (N,) labels of one batch.

    Args:
        path: the file.
        row_bytes: columns that ``data`` must have.
        label_key: of the labels' list, ``labels`` or ``fine_labels``.

    Raises:
        DataError: unreadable, truncated, a pickle of something else, or of unequal counts.
    """
    batch = _unpickle(path)
    if not isinstance(batch, dict):
        raise bad_file(path, f"holds a {type(batch).__name__}, expected a dictionary")
    entries = {_text(key): value for key, value in batch.items()}
    absent = [key for key in ("data", label_key) if key not in entries]
    if absent:
        found = ", ".join(f"{key:.80}" for key in list(entries)[:40])
        raise bad_file(path, f"no entry {' or '.join(absent)}; found {found}")
    data, labels = _bytes_array(entries["data"]), entries[label_key]
    if data is None:
        raise bad_file(path, "data is not an (N, pixels) array of bytes")
    if data.shape[1] != row_bytes:
        raise bad_file(path, f"data has {data.shape[1]} columns, expected {row_bytes}")
    if not isinstance(labels, list) or not all(
        type(label) is int and -_INT64 <= label < _INT64 for label in labels
    ):
        raise bad_file(path, f"{label_key} is not a list of integers")
    if len(labels) != len(data):
        raise bad_file(path, f"wrong count: {len(data)} images but {len(labels)} labels")
    return data, np.array(labels, np.int64)


def _unpickle(path: Path) -> Any:  # noqa: ANN401 - whatever a pickle holds
    try:
        return pickle_machine.load(path.read_bytes(), _ALLOWED)
    except OSError as error:
        raise bad_file(path, f"cannot be read: {error.strerror}") from error
    except PickleError as error:
        raise bad_file(
            path, f"truncated, or not a CIFAR batch: {error}; unpack it again"
        ) from error


def _bytes_array(array: object) -> Images | None:
    """The (N, columns) array of bytes that a call would make; ``None`` if it is none."""
    match array:
        case Call(
            function=Name(name="_reconstruct"),
            state=(
                _,
                (int(rows), int(columns)),
                Call(function=Name(name="dtype"), arguments=("u1" | b"u1", *_)),
                bool(fortran),
                bytes(raw),
            ),
        ) if min(rows, columns) >= 0 and len(raw) == rows * columns:
            order: Literal["F", "C"] = "F" if fortran else "C"
            return np.frombuffer(raw, np.uint8).reshape(rows, columns, order=order)
    return None


def _text(key: str | bytes | int) -> str:
    """Python 2's keys are byte strings."""
    return key.decode("latin1") if isinstance(key, bytes) else str(key)
