"""A layer graph as a PyTorch module: the masked-dense oracle, and server pre-training."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from fedtiny.models.graph import BATCH_NORM_EPSILON, INPUT, Add, Conv, Graph, Linear, Node, Pool
from fedtiny.models.ops.activation import Activation
from fedtiny.sparse.tensor import Floats

BATCH_NORM_MOMENTUM = 0.1
"""Weight of the newest batch in the running statistics (PyTorch's default)."""

_ACTIVATIONS: dict[Activation, Callable[[Tensor], Tensor]] = {
    Activation.NONE: lambda x: x,
    Activation.RELU: functional.relu_,
    Activation.RELU6: lambda x: functional.relu6(x, inplace=True),
    Activation.HARD_SWISH: functional.hardswish,
}

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
        for name, shape in graph.parameters():
            self.register_parameter(_attribute(name), nn.Parameter(torch.zeros(shape)))
        for name, shape in graph.statistics():
            self.register_buffer(_attribute(name), torch.zeros(shape))

    def tensor(self, name: str) -> Tensor:
        """The parameter or statistic called ``name`` in the graph."""
        found = getattr(self, _attribute(name))
        assert isinstance(found, Tensor)
        return found

    def forward(self, x: Tensor, observer: Observer | None = None) -> Tensor:
        """Logits ``(N, classes)`` of a normalised batch ``(N, C, H, W)``."""
        if self.training:
            self.batches_seen += 1
        values = {INPUT: x}
        last_use = _last_uses(self.graph)
        for position, node in enumerate(self.graph.nodes):
            result = self._run(node, [values[name] for name in node.inputs])
            if observer is not None:
                observer(node.name, result)
            values[node.name] = result
            for name in set(node.inputs):
                if last_use[name] == position and name != self.graph.logits:
                    del values[name]
        return values[self.graph.logits].flatten(1)

    def _run(self, node: Node, inputs: list[Tensor]) -> Tensor:
        match node:
            case Conv():
                y = self._convolve(node, inputs[0])
                return _ACTIVATIONS[node.activation](y)
            case Linear():
                weight, bias = self.tensor(f"{node.name}.weight"), self.tensor(f"{node.name}.bias")
                y = functional.linear(inputs[0].flatten(1), weight, bias)
                y = _ACTIVATIONS[node.activation](y)
                return y[:, :, None, None]
            case Add():
                y = inputs[0] + inputs[1]
                return _ACTIVATIONS[node.activation](y)
            case Pool():
                kernel, stride = node.window(self.graph.shapes[node.input])
                pool = functional.avg_pool2d if node.kind == "avg" else functional.max_pool2d
                return pool(inputs[0], kernel, stride)

    def _convolve(self, node: Conv, x: Tensor) -> Tensor:
        weight = self.tensor(f"{node.name}.weight")
        if not node.batch_norm:
            bias = self.tensor(f"{node.name}.bias")
            return functional.conv2d(x, weight, bias, node.stride, node.padding, 1, node.groups)
        y = functional.conv2d(x, weight, None, node.stride, node.padding, 1, node.groups)
        return functional.batch_norm(
            y,
            self.tensor(f"{node.name}.bn.running_mean"),
            self.tensor(f"{node.name}.bn.running_var"),
            self.tensor(f"{node.name}.bn.weight"),
            self.tensor(f"{node.name}.bn.bias"),
            training=self.training,
            momentum=1 / self.batches_seen
            if self.momentum is None and self.training
            else self.momentum or 0.0,
            eps=BATCH_NORM_EPSILON,
        )

    def load(self, state: Mapping[str, Floats]) -> None:
        """Copy arrays by graph name into parameters and statistics.

        Raises:
            KeyError: a name is missing; ValueError: a shape differs.
        """
        names = [*self.graph.parameters(), *self.graph.statistics()]
        with torch.no_grad():
            for name, shape in names:
                if state[name].shape != shape:
                    raise ValueError(f"{name}: expected shape {shape}, got {state[name].shape}")
                self.tensor(name).copy_(torch.from_numpy(state[name]))

    def state(self) -> dict[str, Floats]:
        """Copies of all parameters, then all statistics, by graph name."""
        names = [*self.graph.parameters(), *self.graph.statistics()]
        return {name: self.tensor(name).detach().cpu().numpy().copy() for name, _ in names}

    def reset_statistics(self) -> None:
        """Forget the running statistics: mean 0, variance 1, no batch seen."""
        self.batches_seen = 0
        for name, _ in self.graph.statistics():
            self.tensor(name).fill_(1.0 if name.endswith("running_var") else 0.0)


def _attribute(name: str) -> str:
    # nn.Module forbids dots in parameter names.
    return name.replace(".", "__")


def _last_uses(graph: Graph) -> dict[str, int]:
    return {name: i for i, node in enumerate(graph.nodes) for name in node.inputs}
