"""Element-wise functions in int8 by a table of 256 codes: hard-swish and whatever comes after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedtiny.models.ops import Add, Layer
from fedtiny.models.ops.activation import linear_name
from fedtiny.quant.building import Building
from fedtiny.quant.functions import table
from fedtiny.quant.tensors import Int8s, Int8Tensor


@dataclass(frozen=True, slots=True, eq=False)
class IntegerLookup:
    """``output[i] = table[input[i] + 128]``: any function of one int8 value.

    Attributes:
        table: int8 ``(256,)``, the output's code for each input code, that of -128 first.
        elementwise: whether each value depends on the inputs' values at its own place only.
    """

    name: str
    input: str
    table: Int8s
    elementwise: ClassVar[bool] = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)


def after(node: Layer | Add, build: Building) -> tuple[IntegerLookup, ...]:
    """The table that follows the sums of ``node``; none if its activation is their clamp."""
    if node.activation.clamps:
        return ()
    source = linear_name(node.name)
    output = build.output(node.name, node.name)
    codes = table(node.activation, build.tensors[source], output)
    return (IntegerLookup(node.name, source, codes),)


def run(
    node: IntegerLookup, inputs: Sequence[Int8s], sources: Sequence[Int8Tensor], output: Int8Tensor
) -> Int8s:
    """The output int8, of the input's shape."""
    found: Int8s = node.table[inputs[0].astype(np.int16) + 128]
    return found
