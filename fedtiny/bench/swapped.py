"""A model whose layers other libraries compute."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from fedtiny.models.graph import Graph
from fedtiny.models.ops import Activation, Conv, Node
from fedtiny.models.parameters import AFFINE
from fedtiny.models.torch_module import GraphModule, attribute
from fedtiny.models.torch_ops import Context, normed
from fedtiny.sparse.tensor import Floats


class SwappedModule(GraphModule):
    """The graph, with some layers' products computed by modules of another library.

    Their biases are the modules' own; batch norms and activations stay PyTorch's.

    Args:
        graph: the model.
        state: dense arrays by parameter name.
        layers: by name; of a convolution with batch norm one without bias.
    """

    def __init__(
        self, graph: Graph, state: Mapping[str, Floats], layers: Mapping[str, nn.Module]
    ) -> None:
        super().__init__(graph)
        self.load(state)
        for row in graph.parameters:
            if row.layer in layers and row.kind in AFFINE:
                delattr(self, attribute(row.name))
        self.layers = nn.ModuleDict({attribute(name): layer for name, layer in layers.items()})

    @override
    def value(self, node: Node, inputs: Sequence[Tensor], context: Context) -> Tensor:
        key = attribute(node.name)
        if key not in self.layers:
            return super().value(node, inputs, context)
        if isinstance(node, Conv):
            return normed(node, self.layers[key](inputs[0]), context)
        y: Tensor = self.layers[key](inputs[0].flatten(1))
        return y

    @override
    def activated(self, node: Node, y: Tensor) -> Tensor:
        if node.activation is Activation.RELU and attribute(node.name) in self.layers:
            return functional.relu(y)  # autograd lets nobody overwrite a library's result
        return super().activated(node, y)
