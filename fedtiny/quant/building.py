"""What the quantization of one node may read, and where it puts its tensors."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.models.ops import Add, Layer
from fedtiny.models.ops.activation import linear_name
from fedtiny.models.sparse_model import SparseModel
from fedtiny.quant.fold import Doubles
from fedtiny.quant.ranges import Ranges
from fedtiny.quant.tensors import Int8Tensor


@dataclass(slots=True)
class Building:
    """An integer graph's tensors while it grows, node by node.

    Attributes:
        graph: the architecture.
        model: its float parameters.
        ranges: (minimum, maximum) of every observed tensor.
        tensors: of the nodes so far and of the input, by name.
        constants: of layers and of what pools make of them: what each channel always is, float64
            ``(C,)``; NaN where it varies.
        weight_bits: of the layers that hold a part of their weights; the others have 8.
    """

    graph: Graph
    model: SparseModel
    ranges: Ranges
    tensors: dict[str, Int8Tensor] = field(default_factory=dict)
    constants: dict[str, Doubles] = field(default_factory=dict)
    weight_bits: int = 8

    def constants_of(self, name: str) -> Doubles:
        """:attr:`constants` of the tensor ``name``; all NaN where nothing is known."""
        varies = np.full(self.tensors[name].shape[0], np.nan)
        return self.constants.get(name, varies)

    def largest_code(self, node: Layer) -> int:
        """Of the weights of ``node``: 127, or 7 if it is sparse and those have 4 bits."""
        bits = self.weight_bits if node.name in self.model.weights else 8
        return (1 << (bits - 1)) - 1

    def summed(self, node: Layer | Add, min_scale: float) -> tuple[str, Int8Tensor]:
        """Name and tensor of the node's sums, before an activation that is a table.

        Args:
            node: of the graph.
            min_scale: least scale its rescaling factors allow.
        """
        name = node.name if node.activation.clamps else linear_name(node.name)
        return name, self.output(name, node.name, min_scale)

    def calibrated_scale(self, node: Layer) -> float:
        """Scale of the sums of ``node`` that its range alone asks for."""
        name = node.name if node.activation.clamps else linear_name(node.name)
        return Int8Tensor.covering(self.graph.shapes[node.name], *self.ranges[name]).scale

    def output(self, name: str, node: str, min_scale: float = 0.0) -> Int8Tensor:
        """The new tensor ``name``, of the shape of ``node``'s output, over its range."""
        low, high = self.ranges[name]
        tensor = Int8Tensor.covering(self.graph.shapes[node], low, high, min_scale)
        self.tensors[name] = tensor
        return tensor
