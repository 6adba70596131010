"""An encoder as it was trained, before int8: what a server sends to a device."""

from __future__ import annotations

from dataclasses import dataclass

from fedtiny.data.statistics import Normalization
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ptq import quantize
from fedtiny.training.trainer import Ranges


@dataclass(frozen=True, slots=True, eq=False)
class FloatEncoder:
    """All that its int8 form is a function of.

    Attributes:
        graph: the network.
        model: its parameters, pruned ones left out.
        normalization: of sensor counts, of every pixel of a cell.
        ranges: smallest and largest value of every tensor.
    """

    graph: Graph
    model: SparseModel
    normalization: Normalization
    ranges: Ranges

    def quantized(self) -> IntegerGraph:
        """As it runs on the device."""
        return quantize(self.graph, self.model, self.normalization, self.ranges)
