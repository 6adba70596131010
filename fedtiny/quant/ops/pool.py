"""Pooling in int8: ``arm_avgpool_s8`` and ``arm_max_pool_s8``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from fedtiny.models.ops import Pool
from fedtiny.quant.building import Building
from fedtiny.quant.tensors import (
    INT8_MAX,
    INT8_MIN,
    Int8s,
    Int8Tensor,
    Int64s,
    clip,
    padded,
    windows,
)


@dataclass(frozen=True, slots=True)
class IntegerPool:
    """Average or maximum pooling; input and output share scale and zero point.

    Windows may overhang the map: only what lies inside counts. An average is the sum divided by
    the number of cells, rounded half away from zero.

    Attributes:
        kind: ``"avg"`` or ``"max"``.
        kernel, stride: (height, width).
        padding: (top, left) cells by which windows overhang; below and on the right they overhang
            as far as the output's size asks for.
        clamp: (min, max) of the output codes.
        elementwise: whether each value depends on the inputs' values at its own place only.
    """

    name: str
    input: str
    kind: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int] = (0, 0)
    clamp: tuple[int, int] = (INT8_MIN, INT8_MAX)
    elementwise: ClassVar[bool] = False

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)


def quantize(node: Pool, build: Building) -> tuple[IntegerPool]:
    """The pooling in integers; its tensor takes over the input's scale."""
    source = build.tensors[node.input]
    kernel, stride = node.window(build.graph.shapes[node.input])
    shape = build.graph.shapes[node.name]
    build.tensors[node.name] = Int8Tensor(shape, source.scale, source.zero_point)
    build.constants[node.name] = build.constants_of(node.input)
    (top, _), (left, _) = node.pads
    return (IntegerPool(node.name, node.input, node.kind, kernel, stride, (top, left)),)


def run(
    node: IntegerPool, inputs: Sequence[Int8s], sources: Sequence[Int8Tensor], output: Int8Tensor
) -> Int8s:
    """The output int8 ``(N, OH, OW, C)`` for an input int8 ``(N, H, W, C)``."""
    fill = INT8_MIN if node.kind == "max" else 0
    seen = _seen(node, inputs[0], output, fill)
    if node.kind == "max":
        return clip(seen.max(axis=(3, 4)), node.clamp)
    total = seen.sum(axis=(3, 4), dtype=np.int64)
    inside = np.ones((1, *inputs[0].shape[1:3], 1), np.int8)
    cells = _seen(node, inside, output, 0).sum(axis=(3, 4), dtype=np.int64)
    average: Int64s = np.sign(total) * ((np.abs(total) + cells // 2) // cells)
    return clip(average, node.clamp)


def _seen(
    node: IntegerPool, x: Int8s, output: Int8Tensor, fill: int
) -> npt.NDArray[np.integer[Any]]:
    """Every window of ``x`` (N, OH, OW, KH, KW, C), ``fill`` outside the map."""
    framed = padded(x, node.padding, node.kernel, node.stride, output.shape[1:], fill)
    return windows(framed, node.kernel, node.stride)
