"""Lessons of an exported model that learns: windows in, and every loss that must come out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedtiny.firmware.side_net import SideNet
from fedtiny.learn.reference import Ints, Learner, Readings, read
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.tensors import Int16s

MAGIC = b"FTE1"


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """What is learned, and what it is tested on.

    Attributes:
        counts: int16 ``(N, C, H, W)`` raw windows.
        labels: int64 ``(N,)``.
        rows: int64 ``(steps, batch)``, windows of each step of the optimizer; −1 is none, since
            the last batch of an epoch may be smaller.
        test_counts, test_labels: the same of what is classified afterwards; may be none.
    """

    counts: Int16s
    labels: Ints
    rows: Ints
    test_counts: Int16s
    test_labels: Ints


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What the reference makes of lessons.

    Attributes:
        losses: float32 ``(steps,)``, mean over each batch, before its step.
        correct: test windows classified correctly afterwards.
        before: as many before the first step.
    """

    losses: npt.NDArray[np.float32]
    correct: int
    before: int


def expected(model: IntegerGraph, side: SideNet, lessons: Lessons) -> Expected:
    """The reference's losses and its score."""
    readings = read(model, side, lessons.counts)
    tests = read(model, side, lessons.test_counts)
    learner, labels = Learner(side), lessons.labels
    before = _correct(learner, tests, lessons)
    losses = [learner.step(readings, rows[rows >= 0].tolist(), labels) for rows in lessons.rows]
    return Expected(np.array(losses, np.float32), _correct(learner, tests, lessons), before)


def _correct(learner: Learner, tests: Readings, lessons: Lessons) -> int:
    return int((learner.classes(tests) == lessons.test_labels).sum())


def lessons_file(model: IntegerGraph, side: SideNet, lessons: Lessons, found: Expected) -> bytes:
    """Lessons as ``learn_main.c`` reads them; all little-endian.

    Args:
        model: the integer model.
        side: what is learned.
        lessons: labels are classes of the model, rows windows.
        found: of these, see :func:`expected`.
    """
    steps, batch = lessons.rows.shape
    header = np.array(
        [
            *(model.input.nbytes, side.classes, side.parameters, len(lessons.labels)),
            *(batch, steps, len(lessons.test_labels), found.correct),
        ],
        "<u4",
    )
    table = np.zeros(steps, [("rows", "<u4", batch), ("loss", "<f4")])
    table["rows"], table["loss"] = lessons.rows, found.losses
    parts = (
        _windows(lessons.counts, lessons.labels),
        table.tobytes(),
        _windows(lessons.test_counts, lessons.test_labels),
    )
    return MAGIC + header.tobytes() + b"".join(parts)


def _windows(counts: Int16s, labels: Ints) -> bytes:
    values = int(np.prod(counts.shape[1:]))
    table = np.zeros(len(labels), [("label", "<u4"), ("counts", "<i2", values)])
    table["label"] = labels
    table["counts"] = counts.transpose(0, 2, 3, 1).reshape(len(labels), values)
    return table.tobytes()
