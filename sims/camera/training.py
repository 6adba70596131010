"""A detector trained by the sparse engine, all weights present, on what single cells see.

The engine's loss is a classifier's. A network of convolutions is one too, on each cell's window: so
cells are drawn from every scene, items' middles and what is like them more often than the rest, and
their windows are classified. The frame's network has the same parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedtiny.data.statistics import Normalization
from fedtiny.engine import EngineOptions, Executor
from fedtiny.engine.options import Optimizer
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.quant.ranges import Ranges
from fedtiny.seeding import rng
from fedtiny.sensing.box import overlap
from fedtiny.sensing.camera import Camera
from fedtiny.sensing.pixels import Codes
from sims.camera.detector import CELL, CELLS, MIDDLE, Logits, boxes, detector, targets, view, window
from sims.camera.scenes import SENSOR, Item, Scene

NOISE = 0.005
"""σ of the sensor's read noise, in parts of full scale."""

BATCH = 8
"""Frames at a time."""

CELLS_A_STEP, MICRO_BATCH = 64, 16
"""Windows of a step of the optimizer, and of a pass."""

FRACTIONS = 16
"""Logits become whole numbers of sixteenths."""

THRESHOLDS = range(-64, 65, 8)


@dataclass(frozen=True)
class Course:
    """How long it is trained.

    Attributes:
        scenes: to train on.
        epochs: over them; every one draws other cells.
        learning_rate: of Adam, at the start; it falls to nothing along a half cosine.
    """

    scenes: int = 160
    epochs: int = 16
    learning_rate: float = 0.01


@dataclass(frozen=True, eq=False)
class Detector:
    """A trained detector of frames pooled so.

    Attributes:
        pooling, grey: of the frames.
        graph, model: the network.
        normalization: of codes.
        threshold: of :func:`sims.camera.detector.boxes`, in logits' sixteenths.
    """

    pooling: int
    grey: bool
    graph: Graph
    model: SparseModel
    normalization: Normalization
    threshold: int = 0

    def logits(self, frames: Codes) -> Logits:
        """int32 ``(N, 7, 30, 40)`` in sixteenths, of frames uint8 ``(N, H, W, C)``."""
        executor = Executor(self.graph, self.model, EngineOptions(BATCH))
        return np.rint(FRACTIONS * executor.logits(self.inputs(frames))).astype(np.int32)

    def inputs(self, frames: Codes) -> npt.NDArray[np.float32]:
        """float32 ``(N, C, H, W)`` that the network sees."""
        return self.normalization.apply(frames.transpose(0, 3, 1, 2))

    def ranges(self, frames: Codes) -> Ranges:
        """Of every tensor over ``frames``: what quantizing needs."""
        executor = Executor(self.graph, self.model, EngineOptions(BATCH))
        return executor.ranges(
            self.inputs(frames[i : i + BATCH]) for i in range(0, len(frames), BATCH)
        )


def frames_of(scenes: Sequence[Scene], pooling: int, grey: bool, seed: int) -> Codes:
    """uint8 ``(N, H/k, W/k, c1)``: what the sensor yields of each scene in stage 1."""
    return np.stack(
        [
            Camera(SENSOR, one.light, NOISE, seed + i).read_pooled(pooling, grey)
            for i, one in enumerate(scenes)
        ]
    )


def train(
    frames: Codes, scenes: Sequence[Scene], pooling: int, grey: bool, course: Course, seed: int
) -> Detector:
    """A detector after ``course``, its threshold still 0."""
    graph = view(pooling, grey)
    state = initial_state(graph, rng(seed, "camera detector"))
    axes = (0, 1, 2)
    normalization = Normalization(
        frames.mean(axis=axes, dtype=np.float64).astype(np.float32),
        frames.std(axis=axes, dtype=np.float64).astype(np.float32),
    )
    options = EngineOptions(MICRO_BATCH, optimizer=Optimizer.ADAM)
    executor = Executor(graph, from_state(graph, state, {}), options, lr=course.learning_rate)
    seen = Windows(normalization.apply(frames.transpose(0, 3, 1, 2)), pooling)
    labels = np.stack([targets(one.items) for one in scenes])
    for epoch in range(course.epochs):
        draw = rng(seed, "camera cells", epoch)
        drawn = np.concatenate(
            [[(i, *cell) for cell in cells_of(one, draw)] for i, one in enumerate(scenes)]
        )
        drawn = draw.permutation(drawn)
        for start in range(0, len(drawn), CELLS_A_STEP):
            rows = drawn[start : start + CELLS_A_STEP]
            done = (epoch + start / len(drawn)) / course.epochs
            executor.lr = course.learning_rate * (1 + np.cos(np.pi * done)) / 2
            executor.step(seen.of(rows), labels[tuple(rows.T)])
    model = unrolled(executor.model())
    return Detector(pooling, grey, detector(pooling, grey), model, normalization)


def unrolled(model: SparseModel) -> SparseModel:
    """The parameters of :func:`sims.camera.detector.view` as those of the frame's network."""
    weight = ParameterKind.WEIGHT.of(CELLS)
    dense = {**model.dense, weight: model.dense[weight][:, :, None, None]}
    return SparseModel(model.weights, dense)


class Windows:
    """Cuts what cells see out of frames.

    Args:
        inputs: float32 ``(N, C, H, W)``, normalised; beyond the frame there are zeros.
        pooling: of the frames.
    """

    def __init__(self, inputs: npt.NDArray[np.float32], pooling: int) -> None:
        self._side, self._offset, self._stride = window(pooling)
        around = (self._offset, self._side)
        self._padded = np.pad(inputs, ((0, 0), (0, 0), around, around))

    def of(self, cells: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        """float32 ``(len(cells), C, side, side)`` of cells (frame, row, column)."""
        side, stride = self._side, self._stride
        return np.stack(
            [
                self._padded[n, :, stride * r : stride * r + side, stride * c : stride * c + side]
                for n, r, c in cells
            ]
        )


def cells_of(scene: Scene, draw: np.random.Generator) -> list[tuple[int, int]]:
    """Cells (row, column) to learn from: of items, of scrambled cards, and anywhere."""
    rows, columns = SENSOR.height // CELL, SENSOR.width // CELL
    found = [(int(draw.integers(rows)), int(draw.integers(columns))) for _ in range(4)]
    cards = [*(item.box for item in scene.items), *scene.scrambled]
    for box in cards:
        middle = MIDDLE * box.width
        for reach in (middle, middle, box.width / 2, 0.6 * box.width):
            x = box.x + box.width / 2 + draw.uniform(-reach, reach)
            y = box.y + box.height / 2 + draw.uniform(-reach, reach)
            row, column = int(y // CELL), int(x // CELL)
            found.append((min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)))
    return found


def found_and_missed(
    logits: Logits, items: Sequence[tuple[Item, ...]], threshold: int
) -> tuple[int, int, int]:
    """(items found at IoU 0.5, items, boxes) over scenes."""
    found = number = drawn = 0
    for one, wanted in zip(logits, items, strict=True):
        seen = [box for box, _ in boxes(one, threshold)]
        found += sum(any(overlap(box, item.box) * 2 >= 1 for box in seen) for item in wanted)
        number, drawn = number + len(wanted), drawn + len(seen)
    return found, number, drawn


def best_threshold(logits: Logits, items: Sequence[tuple[Item, ...]]) -> int:
    """The threshold with the best F2 on scenes that are not tested on; the lowest on a tie.

    F2 = 5 · precision · recall / (4 · precision + recall): a box too many costs bytes, one too few
    an error.
    """

    def f2(threshold: int) -> float:
        found, number, drawn = found_and_missed(logits, items, threshold)
        return 5 * found / (4 * number + drawn)

    return max(THRESHOLDS, key=f2)
