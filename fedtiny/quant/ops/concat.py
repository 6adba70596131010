"""Channels one after the other in int8, brought to one scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedtiny.models.ops import Concat
from fedtiny.quant.building import Building
from fedtiny.quant.tensors import INT8_MAX, INT8_MIN, Int8s, Int8Tensor


@dataclass(frozen=True, slots=True, eq=False)
class IntegerConcat:
    """The channels of all inputs, each by a table or as they are.

    Attributes:
        inputs: names of the tensors read.
        tables: int8 ``(256,)`` of each input: the output's code for each of its codes, that of -128
            first; None where they share scale and zero point.
        elementwise: whether each value depends on the inputs' values at its own place only.
    """

    name: str
    inputs: tuple[str, ...]
    tables: tuple[Int8s | None, ...]
    elementwise: ClassVar[bool] = False


def quantize(node: Concat, build: Building) -> tuple[IntegerConcat]:
    """The joined channels, over their common range."""
    output = build.output(node.name, node.name)
    sources = [build.tensors[name] for name in node.inputs]
    build.constants[node.name] = np.concatenate([build.constants_of(n) for n in node.inputs])
    tables = tuple(rescaling(source, output) for source in sources)
    return (IntegerConcat(node.name, node.inputs, tables),)


def rescaling(source: Int8Tensor, output: Int8Tensor) -> Int8s | None:
    """The nearest code of ``output`` for each of ``source``; None if they are the same.

    >>> half, whole = Int8Tensor((1, 1, 1), 0.5, 0), Int8Tensor((1, 1, 1), 1.0, 3)
    >>> rescaling(half, whole)[[128, 130, 132]].tolist(), rescaling(half, half)
    ([3, 4, 5], None)
    """
    if (source.scale, source.zero_point) == (output.scale, output.zero_point):
        return None
    codes = np.arange(INT8_MIN, INT8_MAX + 1, dtype=np.float64)
    return output.encode(source.scale * (codes - source.zero_point))


def run(
    node: IntegerConcat, inputs: Sequence[Int8s], sources: Sequence[Int8Tensor], output: Int8Tensor
) -> Int8s:
    """The output int8 ``(N, H, W, C)`` for inputs int8 ``(N, H, W, ·)``."""
    parts = [
        codes if table is None else table[codes.astype(np.int16) + 128]
        for codes, table in zip(inputs, node.tables, strict=True)
    ]
    return np.concatenate(parts, axis=-1)
