"""Cuts the recordings into windows: in time first, then into samples, so no view leaks."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.labels import LabelMap, check_range
from fedtiny.data.npz import integers, names, sensor_of
from fedtiny.data.npz_file import Arrays, read_arrays
from fedtiny.data.spans import Rows, Spans

FILE = Path(__file__).parent / "watch.npz"
_ARRAYS = ("counts", "length", "label", "person", "labels", "channels", "units", "scale")


def read_recordings(path: Path = FILE) -> Arrays:
    """The arrays described in watch.json.

    Raises:
        DataError: the file is unreadable, or its arrays disagree about the number of recordings
            or readings.
    """
    arrays = read_arrays(path, _ARRAYS)
    counts, labels = arrays["counts"], names(path, arrays, "labels")
    if counts.ndim != 2 or counts.dtype != np.int16:
        raise bad_file(path, f"counts are {counts.dtype} {counts.shape}, expected (N, C) int16")
    of_each = {name: integers(path, arrays, name) for name in ("length", "label", "person")}
    lengths = of_each["length"]
    total = sum(lengths.tolist())
    if len(counts) != total or lengths.min(initial=0) < 0:
        raise bad_file(path, f"wrong count: {len(counts)} readings, lengths add to {total}")
    for name in ("label", "person"):
        if len(of_each[name]) != len(lengths):
            raise bad_file(
                path, f"wrong count: {len(of_each[name])} {name}s, {len(lengths)} lengths"
            )
    check_range(path, "label", of_each["label"], len(labels), LabelMap())
    if of_each["person"].min(initial=0) < 0:
        raise bad_file(path, f"person {of_each['person'].min()}: ids are 0 or more")
    sensor_of(path, arrays, counts.shape[1])
    return arrays | of_each


def windows(
    recordings: Arrays, chosen: NDArray[np.bool_], window: int, stride: int
) -> tuple[Dataset, Spans]:
    """All windows of the chosen recordings, (N, C, 1, window) int16.

    Args:
        recordings: from `read_recordings`.
        chosen: (recordings,) which recordings.
        window: readings per sample.
        stride: readings between starts.
    """
    return _cut(recordings, chosen, window, stride, (0.0, 1.0), gap=0)


def early_and_late_windows(
    recordings: Arrays,
    chosen: NDArray[np.bool_],
    window: int,
    stride: int,
    late_fraction: float,
) -> tuple[tuple[Dataset, Spans], tuple[Dataset, Spans]]:
    """Windows before and after a cut in time through each chosen recording.

    Half a window is left out after the cut, so that the late windows are neither overlapping nor
    adjacent in time to an early one.
    """
    cut = 1.0 - late_fraction
    early = _cut(recordings, chosen, window, stride, (0.0, cut), gap=0)
    late = _cut(recordings, chosen, window, stride, (cut, 1.0), gap=window // 2)
    return early, late


def _cut(
    recordings: Arrays,
    chosen: NDArray[np.bool_],
    window: int,
    stride: int,
    part: tuple[float, float],
    gap: int,
) -> tuple[Dataset, Spans]:
    """Windows inside the given part of each chosen recording, `gap` readings after its start."""
    origins = np.cumsum(recordings["length"]) - recordings["length"]
    which: list[Rows] = []
    starts: list[Rows] = []
    for i in np.flatnonzero(chosen):
        first, last = (int(recordings["length"][i] * edge) for edge in part)
        start = np.arange(first + gap, last - window + 1, stride, dtype=np.int64)
        which.append(np.full(len(start), i, np.int64))
        starts.append(start)
    if not any(map(len, starts)):
        raise DataError(f"no recording is long enough for a window of {window}: lower window")
    recording, start = np.concatenate(which), np.concatenate(starts)
    readings = (origins[recording] + start)[:, None] + np.arange(window)
    x = recordings["counts"][readings].transpose(0, 2, 1)[:, :, None, :]
    sensor = sensor_of(FILE, recordings, recordings["counts"].shape[1])
    data = Dataset(
        np.ascontiguousarray(x),
        recordings["label"][recording],
        recordings["person"][recording],
        names(FILE, recordings, "labels"),
        sensor,
    )
    return data, Spans(recording, start, window)
