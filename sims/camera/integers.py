"""The whole camera in integers: what the firmware must see, box for box and class for class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from fedtiny.export.run import integer_model
from fedtiny.quant import reference
from fedtiny.quant.integer_model import INPUT_SHIFT, IntegerGraph
from fedtiny.quant.tensors import Int8s
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sensing.box import Box
from fedtiny.sensing.pixels import Codes, Light, digitised, pooled
from fedtiny.sensing.scaling import scaled
from fedtiny.text_files import read_json
from sims.camera.detector import boxes
from sims.camera.scenes import SENSOR, SIDE
from sims.camera.training import FRACTIONS


@dataclass(frozen=True, eq=False)
class IntegerCamera:
    """Two networks in int8.

    Attributes:
        pooling, grey: of stage 1.
        detector, classifier: the networks.
        threshold: in codes of the detector's logits.
    """

    pooling: int
    grey: bool
    detector: IntegerGraph
    classifier: IntegerGraph
    threshold: int

    @classmethod
    def load(cls, detector: Path, finished: TrainedModel) -> IntegerCamera:
        """Of a detector that the study kept (``k8-rgb-0.safetensors``), and a federated model."""
        found = TrainedModel.load(detector)
        graph, integer = found.graph, integer_model(found)
        threshold = int(read_json(detector.with_suffix(".json"))["threshold"])
        channels, _, width = graph.input_shape
        return cls(
            SENSOR.width // width,
            channels == 1,
            integer,
            integer_model(finished),
            round(threshold / FRACTIONS / integer.output.scale),
        )

    def look(self, light: Light) -> list[tuple[Box, int]]:
        """(box, class) of what is in a scene, without read noise."""
        frame = digitised(pooled(light, self.pooling, self.grey), SENSOR.bits)
        channels, rows, columns = self.detector.output.shape
        logits = reference.infer(self.detector, quantized(self.detector, frame))[0]
        cells = logits.reshape(rows, columns, channels).transpose(2, 0, 1).astype(np.int32)
        return [(box, self._class(light, box)) for box, _ in boxes(cells, self.threshold)]

    def _class(self, light: Light, box: Box) -> int:
        codes = digitised(light[box.y : box.bottom, box.x : box.right], SENSOR.bits)
        small = scaled(codes, (SIDE, SIDE), grey=True)
        return int(reference.infer(self.classifier, quantized(self.classifier, small)).argmax())


def quantized(model: IntegerGraph, codes: Codes) -> Int8s:
    """A network's input int8 ``(1, H, W, C)`` of codes uint8 ``(H, W, C)``."""
    return reference.quantize_input(model, codes.transpose(2, 0, 1)[None].astype(np.int16))


def table(model: IntegerGraph) -> npt.NDArray[np.int8]:
    """int8 ``(C, 256)``: what each code becomes, channel by channel."""
    entry = model.input_quantization
    codes = np.arange(256, dtype=np.int64)
    fine = codes * entry.multiplier.astype(np.int64)[:, None] + entry.offset[:, None]
    rounded = (fine + (1 << (INPUT_SHIFT - 1))) >> INPUT_SHIFT
    small: npt.NDArray[np.int8] = np.clip(rounded, -128, 127).astype(np.int8)
    return small
