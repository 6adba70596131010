"""What an npz file says of samples that overlap: cut from one recording, or copies of one thing.

========== ======================= =====================================================
name       shape                   meaning
========== ======================= =====================================================
recording  (N,) whole numbers      what a sample was cut from
start      (N,) whole numbers ≥ 0  optional: its first reading there (all 0 without it)
length     one whole number ≥ 1    optional: readings per sample (1 without it)
========== ======================= =====================================================

Samples of one recording whose readings overlap are never in two views of a client; where a test
or development view is drawn, whole recordings go into it first. Without ``recording`` no samples
overlap.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.errors import bad_file
from fedtiny.data.npz_file import Arrays
from fedtiny.data.spans import Spans

_MOST = 2**31 - 1
_Row = NDArray[np.int64]


def spans_of(path: Path, arrays: Arrays, count: int) -> Spans:
    """Which of ``count`` samples overlap.

    Args:
        path: the file, for errors.
        arrays: its content.
        count: samples of it.

    Raises:
        DataError: an array is of another count or type, or out of range, or there is no
            ``recording`` to the others.
    """
    if "recording" not in arrays:
        alone = [name for name in ("start", "length") if name in arrays]
        if alone:
            raise bad_file(path, f"{alone[0]} without recording: say what samples were cut from")
        return Spans.separate(count)
    _, recording = np.unique(_whole(path, arrays, "recording", count), return_inverse=True)
    start = np.zeros(count, np.int64)
    if "start" in arrays:
        start = _whole(path, arrays, "start", count)
        _check(path, "start", start, 0)
    length = np.ones(1, np.int64)
    if "length" in arrays:
        length = _whole(path, arrays | {"length": np.atleast_1d(arrays["length"])}, "length", 1)
        _check(path, "length", length, 1)
    return Spans(recording.astype(np.int64), start, int(length[0]))


def _whole(path: Path, arrays: Arrays, name: str, count: int) -> _Row:
    values = arrays[name]
    if values.shape != (count,) or values.dtype.kind not in "biu":
        raise bad_file(
            path,
            f"{name} is {values.dtype} of shape {values.shape}, expected ({count},) integers",
        )
    if values.dtype == np.uint64 and count and values.max() > np.iinfo(np.int64).max:
        raise bad_file(path, f"{name} holds {values.max()}, which is no integer of 64 bits")
    return values.astype(np.int64)


def _check(path: Path, name: str, values: _Row, least: int) -> None:
    wrong = np.flatnonzero((values < least) | (values > _MOST))
    if len(wrong):
        row = int(wrong[0])
        raise bad_file(path, f"{name} is {values[row]} in row {row}, expected {least} to {_MOST}")
