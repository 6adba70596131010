"""Nearest-neighbour upsampling in int8: codes are copied."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedtiny.models.ops import Upsample
from fedtiny.models.ops.upsample import cells
from fedtiny.quant.building import Building
from fedtiny.quant.tensors import Int8s, Int8Tensor


@dataclass(frozen=True, slots=True)
class IntegerUpsample:
    """A map made larger by repeating codes; input and output share scale and zero point.

    Row y of the result is row ``⌊y · height / new height⌋`` of the input, columns likewise: in
    integers, where TensorFlow Lite's RESIZE_NEAREST_NEIGHBOR rounds a float32 ratio first.

    Attributes:
        elementwise: whether each value depends on the inputs' values at its own place only.
    """

    name: str
    input: str
    elementwise: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)


def quantize(node: Upsample, build: Building) -> tuple[IntegerUpsample]:
    """The upsampling in integers; its tensor takes over the input's scale."""
    source = build.tensors[node.input]
    shape = build.graph.shapes[node.name]
    build.tensors[node.name] = Int8Tensor(shape, source.scale, source.zero_point)
    build.constants[node.name] = build.constants_of(node.input)
    return (IntegerUpsample(node.name, node.input),)


def run(
    node: IntegerUpsample,
    inputs: Sequence[Int8s],
    sources: Sequence[Int8Tensor],
    output: Int8Tensor,
) -> Int8s:
    """The output int8 ``(N, OH, OW, C)`` for an input int8 ``(N, H, W, C)``."""
    (x,) = inputs
    axes = zip(x.shape[1:3], output.shape[1:], strict=True)
    rows, columns = (np.array(cells(*axis)) for axis in axes)
    return x[:, rows[:, None], columns]
