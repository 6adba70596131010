"""The pickled batches of CIFAR's Python version, read without running what a pickle asks for.

They were written by Python 2: a dictionary of byte strings, lists and one numpy array. Unpickling
looks up functions by name, which is how a hostile file runs code; here a name is looked up in a
table of the four that an array is made of, and anything else is refused. Not even these are
numpy's own, which a damaged file can make corrupt the interpreter: they keep what they are given,
and the array is made of that afterwards, checked.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.errors import bad_file
from fedtiny.data.images import Images


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
        raise bad_file(path, f"no entry {' or '.join(absent)}; found {', '.join(entries)}")
    data, labels = _bytes_array(entries["data"]), entries[label_key]
    if data is None:
        raise bad_file(path, "data is not an (N, pixels) array of bytes")
    if data.shape[1] != row_bytes:
        raise bad_file(path, f"data has {data.shape[1]} columns, expected {row_bytes}")
    if not isinstance(labels, list) or not all(type(label) is int for label in labels):
        raise bad_file(path, f"{label_key} is not a list of integers")
    if len(labels) != len(data):
        raise bad_file(path, f"wrong count: {len(data)} images but {len(labels)} labels")
    return data, np.array(labels, np.int64)


def _unpickle(path: Path) -> Any:  # noqa: ANN401 - whatever a pickle holds
    try:
        with path.open("rb") as file:
            return _ArraysOnly(file, encoding="bytes").load()
    except OSError as error:
        raise bad_file(path, f"cannot be read: {error.strerror}") from error
    except Exception as error:  # damage leads to errors of every kind
        raise bad_file(
            path, f"truncated, or not a CIFAR batch: {error}; unpack it again"
        ) from error


@dataclass
class _Kept:
    """Stands in for an array or its dtype: what it was made with, and its pickled state."""

    arguments: tuple[object, ...]
    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


def _keep(*arguments: object) -> _Kept:
    return _Kept(arguments)


def _latin1(text: str, encoding: str) -> bytes:
    """What Python 3 pickles bytes with; any other codec is refused."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"codec {encoding!r}")
    return text.encode("latin1")


def _bytes_array(kept: object) -> Images | None:
    """The (N, columns) array of bytes that was kept; ``None`` if it is none."""
    match kept:
        case _Kept(
            state=(_, (int(rows), int(columns)), _Kept(arguments=(kind, *_)), bool(fortran), raw)
        ) if (
            kind in ("u1", b"u1")
            and isinstance(raw, bytes)
            and len(raw) == rows * columns
            and min(rows, columns) >= 0
        ):
            order: Literal["F", "C"] = "F" if fortran else "C"
            return np.frombuffer(raw, np.uint8).reshape(rows, columns, order=order)
    return None


_ALLOWED: dict[tuple[str, str], Callable[..., object]] = {
    ("numpy.core.multiarray", "_reconstruct"): _keep,  # numpy 1's name
    ("numpy._core.multiarray", "_reconstruct"): _keep,
    ("numpy", "ndarray"): _keep,
    ("numpy", "dtype"): _keep,
    ("_codecs", "encode"): _latin1,
}


class _ArraysOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - whatever a pickle holds
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs")
        return _ALLOWED[module, name]


def _text(key: object) -> str:
    """Python 2's keys are byte strings."""
    return key.decode("latin1") if isinstance(key, bytes) else str(key)
