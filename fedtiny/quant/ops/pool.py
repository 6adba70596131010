"""Pooling in int8: ``arm_avgpool_s8`` and ``arm_max_pool_s8``, without padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from fedtiny.models.ops import Pool
from fedtiny.quant.building import Building
from fedtiny.quant.tensors import Int8s, Int8Tensor, Int64s, windows


@dataclass(frozen=True, slots=True)
class IntegerPool:
    """Average or maximum pooling; input and output share scale and zero point.

    An average is the sum divided by the window's size, rounded half away from zero.

    Attributes:
        kind: ``"avg"`` or ``"max"``.
        kernel, stride: (height, width).
        elementwise: whether each value depends on the inputs' values at its own place only.
    """

    name: str
    input: str
    kind: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
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
    return (IntegerPool(node.name, node.input, node.kind, kernel, stride),)


def run(
    node: IntegerPool, inputs: Sequence[Int8s], sources: Sequence[Int8Tensor], output: Int8Tensor
) -> Int8s:
    """The output int8 ``(N, OH, OW, C)`` for an input int8 ``(N, H, W, C)``."""
    seen = windows(inputs[0], node.kernel, node.stride)
    if node.kind == "max":
        largest: Int8s = seen.max(axis=(3, 4))
        return largest
    total = seen.sum(axis=(3, 4), dtype=np.int64)
    size = prod(node.kernel)
    average: Int64s = np.sign(total) * ((np.abs(total) + size // 2) // size)
    return average.astype(np.int8)
