"""An integer model whose scales somebody else chose: nothing is calibrated or widened."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import assert_never

import numpy as np

from fedtiny.errors import FedTinyError
from fedtiny.importing.pt2e_program import QuantizedProgram
from fedtiny.models.ops import (
    INPUT,
    Activation,
    Add,
    Concat,
    Conv,
    Layer,
    Linear,
    Node,
    Pool,
    Upsample,
)
from fedtiny.models.ops.activation import linear_name
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel
from fedtiny.quant.building import Building
from fedtiny.quant.fold import Doubles, fold
from fedtiny.quant.functions import clamp, table
from fedtiny.quant.integer_model import IntegerNode
from fedtiny.quant.layers import integer_weight
from fedtiny.quant.ops import concat, pool, upsample
from fedtiny.quant.ops.add import ADD_RATIO_LIMIT, IntegerAdd
from fedtiny.quant.ops.conv import IntegerConv
from fedtiny.quant.ops.linear import IntegerLinear
from fedtiny.quant.ops.lookup import IntegerLookup
from fedtiny.quant.requantize import SCALE_LIMIT, fixed_point, normalized
from fedtiny.quant.tensors import INT8_MAX, Int8Tensor, Int32s


@dataclass(frozen=True, slots=True)
class _Result:
    """Of a node: name and tensor of its sums, bounds of their codes, the table after them."""

    name: str
    tensor: Int8Tensor
    bounds: tuple[int, int]
    after: list[IntegerNode]


class Integers:
    """The nodes and tensors of a quantized program in integers, in order.

    Rescaling factors below ½ are plain fractions of 2^31, as everywhere here; a layer that has a
    larger one gets TensorFlow Lite's multipliers and shifts.

    Attributes:
        tensors: by name.
        nodes: in execution order.
    """

    def __init__(self, program: QuantizedProgram) -> None:
        """Raises FedTinyError: a result that is not quantized; the message names its node."""
        self._program = program
        graph = program.graph
        weights = {row.name: program.arrays[row.name] for row in graph.parameter_table}
        self._building = Building(graph, SparseModel({}, weights), {})
        self.tensors = self._building.tensors
        self.nodes: list[IntegerNode] = []
        self.tensors[INPUT] = self._given(INPUT)
        for node in graph.nodes:
            self.nodes += self._integers(node)

    def _given(self, name: str) -> Int8Tensor:
        found = self._known(name)
        if found is None:
            what = "the input" if name == INPUT else f"what {name!r} gives"
            raise FedTinyError(
                f"{what} is not quantized: annotate it, so that every convolution, linear layer "
                "and sum reads and gives int8"
            )
        return found

    def _known(self, name: str) -> Int8Tensor | None:
        """The program's own; or that of what alone reads ``name``, if it keeps scales."""
        graph = self._program.graph
        if name in self._program.tensors:
            return self._program.tensors[name]
        readers = [node for node in graph.nodes if name in node.inputs]
        found = {self._program.tensors.get(node.name) for node in readers}
        if len(found) != 1 or not all(isinstance(node, Pool | Upsample) for node in readers):
            return None
        (pooled,) = found
        return None if pooled is None else replace(pooled, shape=graph.shapes[name])

    def _integers(self, node: Node) -> list[IntegerNode]:
        match node:
            case Conv() | Linear():
                return self._layer(node)
            case Add():
                return self._add(node)
            case Pool() | Upsample():
                return self._moved(node)
            case Concat():
                output = self.tensors[node.name] = self._given(node.name)
                sources = [self.tensors[name] for name in node.inputs]
                tables = tuple(concat.rescaling(source, output) for source in sources)
                return [concat.IntegerConcat(node.name, node.inputs, tables)]
        assert_never(node)

    def _layer(self, node: Layer) -> list[IntegerNode]:
        if isinstance(node, Conv) and node.batch_norm:
            raise FedTinyError(
                f"layer {node.name!r} has a batch norm that was not folded; prepare_pt2e folds one "
                "that follows a convolution: leave no other"
            )
        source = self.tensors[node.input]
        result = self._result(node)
        folded = fold(node, self._building.model)
        scales = self._program.weight_scales.get(node.name)
        if scales is None:
            scales = self._weights_of_ours(node)
        accumulator = scales * source.scale
        factors = accumulator / result.tensor.scale
        bias = np.rint(folded.bias / accumulator)
        if np.abs(bias).max() >= 2**31:
            raise FedTinyError(f"layer {node.name!r}: a bias is too large for its scales; prune it")
        multiplier, shift = _rescaling(factors)
        weight = integer_weight(node, folded, scales, self._program.graph.shapes[node.input])
        name, bounds, integers = result.name, result.bounds, bias.astype(np.int32)
        if isinstance(node, Linear):
            linear = IntegerLinear(name, node.input, weight, integers, multiplier, bounds, shift)
            return [linear, *result.after]
        pads = (node.pads[0][0], node.pads[1][0])
        groups = node.groups if node.is_depthwise else 1
        conv = IntegerConv(
            name, node.input, weight, integers, multiplier, node.stride, pads, groups, bounds, shift
        )
        return [conv, *result.after]

    def _weights_of_ours(self, node: Layer) -> Doubles:
        """Of a layer that stands for an activation: all its weights are 1."""
        weight = self._program.arrays[ParameterKind.WEIGHT.of(node.name)]
        if node.trainable:
            raise FedTinyError(
                f"the weights of layer {node.name!r} are not quantized; annotate them as int8"
            )
        return np.full(len(weight), 1 / INT8_MAX)

    def _result(self, node: Layer | Add) -> _Result:
        """Where the node's sums go; a table follows where they are int8 before the activation."""
        name = linear_name(node.name)
        before = self._program.tensors.get(name)
        kept = before if node.activation.clamps else None  # what is clamped stays on its grid
        output = self._known(node.name) or kept or self._given(node.name)
        self.tensors[node.name] = output
        if node.activation.clamps and before in (None, output):
            return _Result(node.name, output, clamp(node.activation, output), [])
        sums = self.tensors[name] = self._given(name)
        lookup = IntegerLookup(node.name, name, table(node.activation, sums, output))
        return _Result(name, sums, clamp(Activation.NONE, sums), [lookup])

    def _add(self, node: Add) -> list[IntegerNode]:
        result = self._result(node)
        ratios = [self.tensors[side].scale / result.tensor.scale for side in node.inputs]
        if max(ratios) >= ADD_RATIO_LIMIT:
            raise FedTinyError(
                f"node {node.name!r} adds what has {max(ratios):.3g} times the scale of the sum; "
                f"it must be less than {ADD_RATIO_LIMIT}"
            )
        left, right = fixed_point([one / ADD_RATIO_LIMIT for one in ratios], limit=1.0).tolist()
        total = IntegerAdd(result.name, node.left, node.right, left, right, result.bounds)
        return [total, *result.after]

    def _moved(self, node: Pool | Upsample) -> list[IntegerNode]:
        """With its input's scale; a table follows where the program gives it another."""
        moved: pool.IntegerPool | upsample.IntegerUpsample
        if isinstance(node, Pool):
            (moved,) = pool.quantize(node, self._building)
        else:
            (moved,) = upsample.quantize(node, self._building)
        kept, wanted = self.tensors[node.name], self._program.tensors.get(node.name)
        if wanted is None or wanted == kept:
            return [moved]
        before = linear_name(node.name)
        self.tensors[before], self.tensors[node.name] = kept, wanted
        return [
            replace(moved, name=before),
            IntegerLookup(node.name, before, table(Activation.NONE, kept, wanted)),
        ]


def _rescaling(factors: Doubles) -> tuple[Int32s, Int32s | None]:
    if factors.max() < SCALE_LIMIT:
        return fixed_point(factors), None
    return normalized(factors)
