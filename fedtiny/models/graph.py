"""The layer graph: the one description of a model that everything else reads.

Cost, the PyTorch oracle, sparse training, quantization and the C emitter all walk the same
:class:`Graph`, a list of the ops of :mod:`fedtiny.models.ops`.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from math import prod
from typing import TYPE_CHECKING

from fedtiny.models.ops import (
    INPUT,
    Add,
    Concat,
    Conv,
    GraphError,
    Layer,
    Linear,
    Node,
    Pool,
    Shape,
    Upsample,
    codec,
)
from fedtiny.models.ops.activation import linear_name
from fedtiny.models.ops.op import Op
from fedtiny.models.parameters import Parameter
from fedtiny.sparse.tensor import Floats

if TYPE_CHECKING:
    from torch import Tensor, nn

__all__ = [
    "INPUT",
    "Add",
    "Concat",
    "Conv",
    "Graph",
    "GraphError",
    "Linear",
    "Loss",
    "Pool",
    "Upsample",
]
"""All that a file with a model of one's own imports."""

MAX_ELEMENTS = 2**31 - 1
"""Of one tensor or weight: positions are int32."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")

_FORMAT = 1
"""Of the JSON form; raise it when an older reader would misunderstand a newer graph."""


class Loss(StrEnum):
    """What training minimises."""

    CROSS_ENTROPY = "cross_entropy"


@dataclass(frozen=True)
class Graph:
    """A model: an input shape, nodes in execution order, and what is read of them.

    Args:
        name: of the architecture, e.g. ``"resnet8"``.
        input_shape: (C, H, W) of one sample.
        nodes: each reads only the input or earlier nodes.
        outputs: names of the nodes whose values are the model's; by default that of the last one.
        loss: what training minimises; it reads the first output, the logits.

    Raises:
        GraphError: a node reads a tensor that does not exist yet, shapes do not fit, a name is
            used twice or has odd characters, or an output is no node's.

    >>> graph = Graph("tiny", (3, 8, 8), (
    ...     Conv("stem", INPUT, 3, 4, (3, 3), padding=(1, 1), prunable=False),
    ...     Conv("body", "stem", 4, 8, (3, 3), stride=(2, 2), padding=(1, 1)),
    ...     Pool("pool", "body"),
    ...     Linear("classifier", "pool", 8, 2, prunable=False),
    ... ))
    >>> graph.shapes["body"], graph.classes
    ((8, 4, 4), 2)
    >>> [layer.name for layer in graph.prunable_layers]
    ['body']
    >>> Graph.from_json(graph.to_json()) == graph
    True
    """

    name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...] = ()
    loss: Loss = Loss.CROSS_ENTROPY

    def __post_init__(self) -> None:
        _check_name("graph", self.name.replace("@", "_"))  # as in resnet8@4
        produced = list(self.shapes)[1:]  # checks every node now, not at first use
        if not produced:
            raise GraphError(f"graph {self.name!r} has no nodes")
        if not self.outputs:
            object.__setattr__(self, "outputs", (produced[-1],))
        for name in self.outputs:
            if name not in produced:
                raise GraphError(f"output {name!r} of graph {self.name!r} is the name of no node")
        _check_names(self)

    @classmethod
    def from_torch(
        cls, module: nn.Module, example: Tensor, dense: Sequence[str] | None = None
    ) -> tuple[Graph, dict[str, Floats]]:
        """A PyTorch module as :mod:`fedtiny.models.from_torch` reads it, and its arrays by name.

        Args:
            module: takes one tensor and gives one, (N, outputs).
            example: float32 ``(N, C, H, W)``, ``(N, C, T)`` or ``(N, F)``; its values are not read.
            dense: layers that are not to be pruned; by default the first and the last, if there
                are others.

        Raises:
            UnsupportedModuleError: it does what no graph does; names operation, line and remedy.
        """
        from fedtiny.models.from_torch.reading import read_module  # noqa: PLC0415 - PyTorch is optional

        return read_module(module, example, dense)

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """(C, H, W) of every tensor by name, the input included."""
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
        if min(self.input_shape) < 1:
            raise GraphError(f"graph {self.name!r}: no sample has the shape {self.input_shape}")
        for node in self.nodes:
            shapes[node.name] = _checked_output_shape(node, shapes)
        return shapes

    @cached_property
    def classes(self) -> int:
        """Number of logits."""
        return self.shapes[self.logits][0]

    @property
    def logits(self) -> str:
        """Name of the tensor that the loss reads."""
        return self.outputs[0]

    @cached_property
    def observed(self) -> tuple[str, ...]:
        """Names of the tensors whose ranges are calibrated, in the order they are computed.

        The input, and every node's output; where the activation does more than clamp, before it
        ``{node}.linear``, the value that the activation is applied to.
        """
        names = [INPUT]
        for node in self.nodes:
            if not node.activation.clamps:
                names.append(linear_name(node.name))
            names.append(node.name)
        return tuple(names)

    @cached_property
    def layers(self) -> tuple[Layer, ...]:
        """The nodes with weights, in order."""
        return tuple(node for node in self.nodes if isinstance(node, Conv | Linear))

    @cached_property
    def prunable_layers(self) -> tuple[Layer, ...]:
        """Layers whose weights may be pruned.

        FedTiny (arXiv 2212.01977), its authors' code and its successors disagree about the end
        layers; like most of the pruning literature our models keep both dense, and count them in
        ``density_all``.
        """
        return tuple(layer for layer in self.layers if layer.prunable)

    @cached_property
    def batch_norms(self) -> tuple[Conv, ...]:
        """Convolutions that carry a batch norm, in order."""
        return tuple(n for n in self.nodes if isinstance(n, Conv) and n.batch_norm)

    def layer(self, name: str) -> Layer:
        """The layer called ``name``; KeyError if there is none."""
        return self._layers_by_name[name]

    @cached_property
    def _layers_by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @cached_property
    def consumers(self) -> dict[str, tuple[str, ...]]:
        """For every tensor, the nodes that read it, in order."""
        readers: dict[str, tuple[str, ...]] = dict.fromkeys(self.shapes, ())
        for node in self.nodes:
            for name in node.inputs:
                readers[name] += (node.name,)
        return readers

    @cached_property
    def parameter_table(self) -> tuple[Parameter, ...]:
        """What the model holds, in checkpoint order: the parameters, then the statistics."""
        return self.parameters + self.statistics

    @cached_property
    def parameters(self) -> tuple[Parameter, ...]:
        """What training changes (unless it is frozen), in layer order."""
        return tuple(p for n in self.nodes for p in n.parameters if not p.kind.is_statistic)

    @cached_property
    def statistics(self) -> tuple[Parameter, ...]:
        """Batch norms' running means and variances, in layer order."""
        return tuple(p for n in self.nodes for p in n.parameters if p.kind.is_statistic)

    def to_json(self) -> str:
        """The graph as JSON, one text per graph: what files keep of it."""
        data = {
            "format": _FORMAT,
            "name": self.name,
            "input_shape": self.input_shape,
            "nodes": [codec.encode(node) for node in self.nodes],
            "outputs": self.outputs,
            "loss": self.loss,
        }
        return json.dumps(data, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Graph:
        """The inverse of :meth:`to_json`.

        Raises:
            GraphError: no JSON, of another format, or of no graph that fits together.
        """
        try:
            data = codec.mapping(json.loads(text), "a graph")
        except (ValueError, RecursionError) as error:
            raise GraphError(f"a graph must be JSON: {error}") from error
        if data.get("format") != _FORMAT:
            raise GraphError(
                f"graph of format {data.get('format')!r:.80}, this FedTiny reads {_FORMAT}; "
                "use the version that wrote it"
            )
        return _from_data(data)


def _from_data(data: codec.Object) -> Graph:
    known = {"format", "name", "input_shape", "nodes", "outputs", "loss"}
    if data.keys() != known:
        odd = ", ".join(sorted(data.keys() ^ known))
        raise GraphError(f"a graph has exactly the fields {', '.join(sorted(known))}; odd: {odd}")
    shape = [codec.integer(x, "input_shape") for x in codec.items(data["input_shape"], "shape")]
    if len(shape) != 3:
        raise GraphError(f"input_shape must be three integers, not {shape!r:.80}")
    nodes = tuple(codec.decode(node) for node in codec.items(data["nodes"], "nodes"))
    outputs = tuple(codec.text(x, "outputs") for x in codec.items(data["outputs"], "outputs"))
    if data["loss"] not in list(Loss):
        raise GraphError(f"loss must be one of {', '.join(Loss)}, not {data['loss']!r:.80}")
    loss = Loss(codec.text(data["loss"], "loss"))
    name = codec.text(data["name"], "name")
    return Graph(name, (shape[0], shape[1], shape[2]), nodes, outputs, loss)


def _check_name(what: str, name: str) -> None:
    # names go into files, C identifiers and comments
    if not _NAME.fullmatch(name):
        raise GraphError(
            f"{what} {name!r}: a name has ASCII letters, digits, '_', '.' and '-', and begins "
            "with none of the last two"
        )


def _checked_output_shape(node: Op, shapes: dict[str, Shape]) -> Shape:
    _check_name("node", node.name)
    if node.name in shapes:
        raise GraphError(f"node {node.name!r}: the name is used twice; rename one of them")
    for name in node.inputs:
        if name not in shapes:
            raise GraphError(
                f"node {node.name!r} reads {name!r}, which no earlier node produces; "
                f"known so far: {', '.join(shapes)}"
            )
    inputs = [shapes[name] for name in node.inputs]
    node.check(*inputs)
    result = node.output_shape(inputs[0])
    if min(result) < 1:
        raise GraphError(
            f"node {node.name!r}: input {inputs[0]} is too small, output would be {result}"
        )
    largest = max(prod(result), *(prod(p.shape) for p in node.parameters), 0)
    if largest > MAX_ELEMENTS:
        raise GraphError(f"node {node.name!r}: an array of {largest:,} numbers is too large")
    return result


def _check_names(graph: Graph) -> None:
    """One name, one array: ``a`` with batch norm and a layer ``a.bn`` would share theirs."""
    arrays = Counter([*graph.observed, *(p.name for p in graph.parameter_table)])
    twice = [name for name, count in arrays.items() if count > 1]
    if twice:
        raise GraphError(f"graph {graph.name!r}: two arrays would be called {twice[0]!r}; rename")
    for layer in graph.layers:
        if layer.prunable and not layer.trainable:
            raise GraphError(
                f"layer {layer.name!r} is not trained, so nothing tells which of its weights to "
                "prune; set prunable=False"
            )
