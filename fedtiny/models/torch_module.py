"""A layer graph as a PyTorch module: the masked-dense oracle, and server pre-training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Node
from fedtiny.models.ops.activation import linear_name
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.torch_ops import ACTIVATIONS, Context, forward
from fedtiny.sparse.tensor import Floats

BATCH_NORM_MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics (PyTorch's default)."""

Observer = Callable[[str, Tensor], None]
"""Called with a tensor's name and value as the forward pass produces it."""


class GraphModule(nn.Module):
    """Runs a graph on ``(N, C, H, W)`` float32 tensors; state names are the graph's.

    Attributes:
        graph: the model's description.
        momentum: of the batch norms' running statistics; ``None`` averages cumulatively, as
            FedTiny's batch-norm selection needs (call :meth:`reset_statistics` first).
    """

    def __init__(self, graph: Graph) -> None:
        super().__init__()
        self.graph = graph
        self.momentum: float | None = BATCH_NORM_MOMENTUM
        self.batches_seen = 0
        for row in graph.parameters:
            parameter = nn.Parameter(torch.zeros(row.shape), requires_grad=row.trainable)
            self.register_parameter(attribute(row.name), parameter)
        for row in graph.statistics:
            self.register_buffer(attribute(row.name), torch.zeros(row.shape))

    def tensor(self, name: str) -> Tensor:
        """The parameter or statistic called ``name`` in the graph."""
        found = getattr(self, attribute(name))
        assert isinstance(found, Tensor)
        return found

    def forward(self, x: Tensor, observer: Observer | None = None) -> Tensor:
        """Logits ``(N, classes)`` of a normalised batch ``(N, C, H, W)``.

        ``observer`` sees every tensor of :attr:`Graph.observed` but the input.
        """
        if self.training and self.momentum is None:  # a counter would be compiled anew every time
            self.batches_seen += 1
        context = Context(self._array, self.training, self._newest_weight())
        values = {INPUT: x}
        last_use = _last_uses(self.graph)
        for position, node in enumerate(self.graph.nodes):
            inputs = [values[name] for name in node.inputs]
            values[node.name] = self._run(node, inputs, context, observer)
            for name in set(node.inputs):
                if last_use[name] == position and name != self.graph.logits:
                    del values[name]
        return values[self.graph.logits].flatten(1)

    def value(self, node: Node, inputs: Sequence[Tensor], context: Context) -> Tensor:
        """A node's value before its activation; see :func:`fedtiny.models.torch_ops.forward`."""
        return forward(node, inputs, context)

    def activated(self, node: Node, y: Tensor) -> Tensor:
        """``y`` after the node's activation, in the same memory if that can be."""
        return ACTIVATIONS[node.activation](y)

    def _run(
        self, node: Node, inputs: list[Tensor], context: Context, observer: Observer | None
    ) -> Tensor:
        y = self.value(node, inputs, context)
        if observer is not None and not node.activation.clamps:
            observer(linear_name(node.name), y)
        y = self.activated(node, y)
        if observer is not None:
            observer(node.name, y)
        return y if y.dim() == 4 else y[:, :, None, None]

    def _array(self, layer: str, kind: ParameterKind) -> Tensor:
        return self.tensor(kind.of(layer))

    def _newest_weight(self) -> float:
        if self.momentum is None:
            return 1 / self.batches_seen if self.training else 0.0
        return self.momentum

    def load(self, state: Mapping[str, Floats]) -> None:
        """Copy arrays by graph name into parameters and statistics.

        Raises:
            KeyError: a name is missing; ValueError: a shape differs.
        """
        with torch.no_grad():
            for row in self.graph.parameter_table:
                array = state[row.name]
                if array.shape != row.shape:
                    raise ValueError(f"{row.name}: expected shape {row.shape}, got {array.shape}")
                self.tensor(row.name).copy_(torch.from_numpy(array))

    def state(self) -> dict[str, Floats]:
        """Copies of all parameters, then all statistics, by graph name."""
        names = [row.name for row in self.graph.parameter_table]
        return {name: self.tensor(name).detach().cpu().numpy().copy() for name in names}

    def reset_statistics(self) -> None:
        """Forget the running statistics: mean 0, variance 1, no batch seen."""
        self.batches_seen = 0
        for row in self.graph.statistics:
            assert row.kind.neutral is not None
            self.tensor(row.name).fill_(row.kind.neutral)


def attribute(name: str) -> str:
    """What a module calls an array or layer of a graph: ``nn.Module`` forbids dots in names."""
    return name.replace(".", "__")


def _last_uses(graph: Graph) -> dict[str, int]:
    return {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
