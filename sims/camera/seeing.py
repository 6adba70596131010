"""From scenes to classes and bytes: what is seen by each way of looking."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fedtiny.engine import EngineOptions, Executor
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sensing.box import Box, clipped, overlap
from fedtiny.sensing.camera import Camera
from fedtiny.sensing.pixels import Codes
from fedtiny.sensing.scaling import scaled
from fedtiny.sensing.sensor import Reading
from sims.camera.scenes import SENSOR, SIDE, Scene
from sims.camera.training import NOISE

MICRO_BATCH = 8

Classify = Callable[[Codes], npt.NDArray[np.int64]]
"""uint8 ``(N, 28, 28, 1)`` to classes ``(N,)``."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What became of a set of scenes; bytes are means over scenes.

    Attributes:
        recall: part of the items with a box of IoU ≥ 0.5.
        precision: part of the boxes that are such.
        accuracy: part of the items with such a box and the right class.
        transfer_bytes: counted at the sensor.
        formula_bytes: the same by formula.
        peak_image_bytes: of the scene with the most.
    """

    recall: float
    precision: float
    accuracy: float
    transfer_bytes: float
    formula_bytes: float
    peak_image_bytes: int


@dataclass(eq=False)
class Tally:
    """Adds up scenes."""

    items: int = 0
    boxes: int = 0
    found: int = 0
    right: int = 0
    sent_bits: int = 0
    formula_bits: int = 0
    peak_bits: int = 0
    scenes: int = 0

    def add(self, scene: Scene, seen: Sequence[Box], classes: npt.NDArray[np.int64]) -> None:
        """One scene: the boxes drawn in it, and what each was taken for."""
        self.scenes += 1
        self.items += len(scene.items)
        self.boxes += len(seen)
        for item in scene.items:
            shares = [overlap(box, item.box) for box in seen]
            if shares and max(shares) * 2 >= 1:
                self.found += 1
                self.right += int(classes[shares.index(max(shares))] == item.label)

    def sight(self) -> Sight:
        """The means."""
        bits = 8 * self.scenes
        return Sight(
            self.found / self.items,
            self.found / max(self.boxes, 1),
            self.right / self.items,
            self.sent_bits / bits,
            self.formula_bits / bits,
            self.peak_bits // 8,
        )


def classifier(finished: TrainedModel) -> Classify:
    """The federated model on boxes."""
    executor = Executor(finished.graph, finished.model, EngineOptions(MICRO_BATCH))

    def classify(images: Codes) -> npt.NDArray[np.int64]:
        if len(images) == 0:
            return np.zeros(0, np.int64)
        counts = images.transpose(0, 3, 1, 2)
        logits = executor.logits(finished.normalization.apply(counts))
        classes: npt.NDArray[np.int64] = logits.argmax(axis=1)
        return classes

    return classify


Look = Callable[[Camera, Sequence[Box]], tuple[list[Codes], int]]
"""A camera and the boxes drawn in what it sees, to pictures ``(28, 28, 1)`` and bits by formula."""


def in_two_stages(
    scenes: Sequence[Scene],
    seen: Sequence[Sequence[Box]],
    pooling: int,
    grey: bool,
    classify: Classify,
    seed: int,
) -> Sight:
    """HiRISE: the pooled frame, then the boxes at full resolution."""

    def look(camera: Camera, boxes: Sequence[Box]) -> tuple[list[Codes], int]:
        camera.read_pooled(pooling, grey)
        bits = Reading(SENSOR, pooling, grey, tuple(boxes)).transfer_bits
        return [_picture(camera.read_box(box)) for box in boxes], bits

    return _seen(scenes, seen, look, classify, seed)


def in_one_frame(
    scenes: Sequence[Scene],
    seen: Sequence[Sequence[Box]],
    pooling: int,
    grey: bool,
    classify: Classify,
    seed: int,
) -> Sight:
    """The pooled frame alone: boxes are cut out of it. Of k = 1, the whole frame once."""

    def look(camera: Camera, boxes: Sequence[Box]) -> tuple[list[Codes], int]:
        frame = camera.read_pooled(pooling, grey)
        bits = SENSOR.pooled_bits(pooling, grey)
        return [_picture(_cut(frame, box, pooling)) for box in boxes], bits

    return _seen(scenes, seen, look, classify, seed)


def _seen(
    scenes: Sequence[Scene],
    seen: Sequence[Sequence[Box]],
    look: Look,
    classify: Classify,
    seed: int,
) -> Sight:
    tally = Tally()
    for i, (scene, boxes) in enumerate(zip(scenes, seen, strict=True)):
        camera = Camera(SENSOR, scene.light, NOISE, seed + i)
        images, bits = look(camera, boxes)
        tally.add(scene, boxes, classify(_stack(images)))
        tally.sent_bits += camera.sent_bits
        tally.formula_bits += bits
        tally.peak_bits = max(tally.peak_bits, camera.peak_bits)
    return tally.sight()


def _picture(codes: Codes) -> Codes:
    return scaled(codes, (SIDE, SIDE), grey=True)


def _cut(frame: Codes, box: Box, pooling: int) -> Codes:
    """The cells of a pooled frame that a box's borders are nearest to, one at least."""
    height, width, _ = frame.shape
    left, top = round(box.x / pooling), round(box.y / pooling)
    wide = max(round(box.right / pooling) - left, 1)
    high = max(round(box.bottom / pooling) - top, 1)
    small = clipped(min(left, width - 1), min(top, height - 1), wide, high, (width, height))
    assert small is not None
    return frame[small.y : small.bottom, small.x : small.right]


def _stack(images: Sequence[Codes]) -> Codes:
    return np.stack(images) if images else np.zeros((0, SIDE, SIDE, 1), np.uint8)
