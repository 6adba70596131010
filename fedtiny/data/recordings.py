"""A device's own recordings: what its files hold, as samples.

``.npz`` files are those of :mod:`fedtiny.data.npz`. A ``.csv`` file is one recording: a header,
then a reading a line at the job's rate, whole numbers as the sensor delivers them, and the name
(or number) of what was done meanwhile::

    label,ax,ay,az
    walk,12,-305,1021
    walk,14,-301,1019

A sample is a window of ``data.window`` readings of one label, ``data.stride`` apart; a change of
the label, like the end of a file, ends a recording. The columns but ``label`` are the channels.
"""

import difflib
import warnings
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fedtiny.data.config import DataConfig
from fedtiny.data.dataset import Dataset, SensorSpec, concatenate
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.npz import Recorded, read_npz
from fedtiny.data.spans import Spans
from fedtiny.data.spool import CSV, Holding
from fedtiny.text_files import TextFileError, read_text

LABEL = "label"
"""The column that says what was done."""

_INT16 = np.iinfo(np.int16)


def read_recorded(holding: Holding, config: DataConfig) -> Recorded:
    """All samples of a device's files, in the order of their names.

    Raises:
        DataError: a file, named with the reason: unreadable, malformed, unlike the others.
    """
    paths = [one.path for one in holding.files]
    if holding.kind == CSV:
        return _windows(holding.path, paths, config)
    parts = [read_npz(path, config.label_names, config.labels) for path in paths]
    data = _joined(paths, [part for part, _, _ in parts])
    tests = [test for _, _, test in parts if test is not None]
    if tests and len(tests) < len(parts):
        raise bad_file(holding.path, "some files have x_test, some have not: give all one or none")
    test = _joined(paths, tests) if tests else None
    spans = [one for _, one, _ in parts]
    if len({one.length for one in spans}) > 1:
        raise bad_file(holding.path, "its files have samples of unequal length: cut them alike")
    return data, Spans.apart(spans), test


def _joined(paths: list[Path], parts: list[Dataset]) -> Dataset:
    first = parts[0]
    for path, part in zip(paths, parts, strict=True):
        if (part.input_shape, part.x.dtype) != (first.input_shape, first.x.dtype):
            raise bad_file(
                path,
                f"samples {part.input_shape} of {part.x.dtype}, but {paths[0].name} has "
                f"{first.input_shape} of {first.x.dtype}",
            )
        if (part.labels, part.sensor) != (first.labels, first.sensor):
            raise bad_file(
                path,
                f"other labels, channels, units or scale than {paths[0].name}: name the classes in "
                "data.label_names, and record with one sensor",
            )
    return concatenate(tuple(parts))


def _windows(folder: Path, paths: list[Path], config: DataConfig) -> Recorded:
    if not config.label_names:
        raise bad_file(
            folder, "CSV recordings name what was done: name the job's classes in data.label_names"
        )
    channels: tuple[str, ...] = ()
    x: list[NDArray[np.int16]] = []
    y: list[int] = []
    recording: list[int] = []
    start: list[int] = []
    run = 0
    for path in paths:
        names, readings, labels = read_csv(path, config)
        if channels and names != channels:
            raise bad_file(path, f"columns {', '.join(names)}, but {paths[0].name} has others")
        channels = names
        edges = [0, *(np.flatnonzero(np.diff(labels)) + 1).tolist(), len(labels)]
        for first, end in pairwise(edges):
            run += 1
            if end - first < config.window:
                continue
            cut = sliding_window_view(readings[first:end], config.window, 0)[:: config.stride]
            x.append(cut)  # a view: nothing is copied before all is known
            y += [int(labels[first])] * len(cut)
            recording += [run] * len(cut)
            start += range(0, len(cut) * config.stride, config.stride)
    if not x:
        raise bad_file(
            folder,
            f"no stretch of one label is {config.window} readings long (data.window): record "
            "longer, or lower it",
        )
    sensor = SensorSpec(channels, ("1",) * len(channels), (1.0,) * len(channels))
    counts = np.concatenate(x)[:, :, None, :]
    data = Dataset(
        counts, np.array(y, np.int64), np.zeros(len(y), np.int64), config.label_names, sensor
    )
    return data, Spans(np.array(recording), np.array(start), config.window), None


def read_csv(
    path: Path, config: DataConfig
) -> tuple[tuple[str, ...], NDArray[np.int16], NDArray[np.int64]]:
    """One recording: its channels' names, counts (readings, C), and classes (readings,).

    Raises:
        DataError: no header with a column ``label``, a row of another width, a value that is no
            whole number of 16 bits, or a label that is none of the job's.
    """
    try:
        head, *rows = read_text(path).rstrip("\n").split("\n")
    except TextFileError as error:
        raise DataError(str(error)) from error
    columns = [name.strip().strip('"') for name in head.split(",")]
    if columns.count(LABEL) != 1 or len(columns) < 2:
        fix = "; it is separated by semicolons: save it with commas" if ";" in head else ""
        raise bad_file(
            path, f"its header is {head[:80]!a}, expected one column {LABEL} and the channels{fix}"
        )
    at = columns.index(LABEL)
    rows = [row for row in rows if row.strip()]
    table = _parse(path, rows, len(columns), at, _label_reader(path, config))
    channels = tuple(name for name in columns if name != LABEL)
    return channels, np.delete(table, at, axis=1).astype(np.int16), table[:, at]


def _label_reader(path: Path, config: DataConfig) -> Callable[[str], int]:
    """From what a file calls a class to its number: names first, then labels as data sets have."""
    names, numbers = config.label_names, config.labels
    if numbers.values and len(numbers.values) != len(names):
        raise bad_file(path, f"{len(numbers.values)} labels mapped, {len(names)} named")
    known = {str(numbers.label_of(k)): k for k in range(len(names))}
    known |= {name: k for k, name in enumerate(names)}

    def read(text: str) -> int:
        label = text.strip().strip('"')
        if label not in known:
            near = difflib.get_close_matches(label, names, n=1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise ValueError(f"label {label[:40]!a} is none of {', '.join(names[:20])}{hint}")
        return known[label]

    return read


def _parse(
    path: Path, rows: list[str], columns: int, at: int, label: Callable[[str], int]
) -> NDArray[np.int64]:
    """(readings, columns); the label's column holds classes."""
    if not rows:
        raise bad_file(path, "a header and no readings")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", DeprecationWarning)  # some numpys cut 3.7 to 3
            table = np.loadtxt(
                rows, np.int64, delimiter=",", comments=None, ndmin=2, converters={at: label}
            )
    except (ValueError, DeprecationWarning) as error:  # numpy names the row and the column
        reason = f"{error}".partition(";")[0]
        why = f": {error.__cause__}" if error.__cause__ else ", expected whole numbers"
        raise bad_file(path, f"{reason[:200]}{why}") from error
    if table.shape[1] != columns:
        raise bad_file(path, f"{table.shape[1]} values a row, but the header has {columns} names")
    beyond = np.argwhere((table < _INT16.min) | (table > _INT16.max))
    if len(beyond):
        raise bad_file(
            path, f"reading {beyond[0, 0] + 1} lies beyond int16: record the sensor's counts"
        )
    return table
