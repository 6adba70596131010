"""The layer graph: the one description of a model that everything else reads.

Cost, the PyTorch oracle, sparse training, quantization and the C emitter all walk the same
:class:`Graph`. A node is a *fused* step, because that is the unit in which devices train and
microcontrollers run: a convolution with its batch norm and activation, an addition with its
activation, a pooling, a fully-connected layer.

Layouts, everywhere in this package unless a docstring says otherwise:

* activations are ``(N, C, H, W)``; a 1-D signal of length T is ``(N, C, 1, T)``;
* convolution weights are ``(out_channels, in_channels // groups, kernel_h, kernel_w)``;
* linear weights are ``(out_features, in_features)``, inputs flattened in C, H, W order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from fedtiny.errors import FedTinyError
from fedtiny.models.ops.activation import Activation

Shape = tuple[int, int, int]
"""(C, H, W) of one sample."""

INPUT = "input"
"""Name of the graph's input tensor."""

BATCH_NORM_EPSILON = 1e-5
"""Added to the variance; every batch norm of the package uses it."""


class GraphError(FedTinyError):
    """The nodes do not fit together; the message names the node."""


@dataclass(frozen=True, slots=True)
class Conv:
    """Convolution, then batch norm (if any), then the activation (if any).

    Attributes:
        name: unique; parameters are called ``{name}.weight``, ``{name}.bn.running_mean`` …
        input: name of the node (or :data:`INPUT`) whose output is read.
        kernel, stride, padding: (height, width); padding is the same on both sides.
        groups: 1, or ``in_channels`` for a depthwise convolution.
        batch_norm: without one the convolution has a bias.
        activation: applied to the result.
        block: adjustment block the layer belongs to (FedTiny, block granularity).
        prunable: whether its weights may be pruned; biases and batch norms never are.
        trainable: whether training changes its parameters.
    """

    name: str
    input: str
    in_channels: int
    out_channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    groups: int = 1
    batch_norm: bool = True
    activation: Activation = Activation.RELU
    block: str = ""
    prunable: bool = True
    trainable: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(O, I/groups, kernel_h, kernel_w)."""
        return (self.out_channels, self.in_channels // self.groups, *self.kernel)

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output for an input of ``shape``."""
        _, height, width = shape
        out_h = (height + 2 * self.padding[0] - self.kernel[0]) // self.stride[0] + 1
        out_w = (width + 2 * self.padding[1] - self.kernel[1]) // self.stride[1] + 1
        return (self.out_channels, out_h, out_w)


@dataclass(frozen=True, slots=True)
class Linear:
    """Fully-connected layer with bias over the flattened (C, H, W) input, then the activation."""

    name: str
    input: str
    in_features: int
    out_features: int
    activation: Activation = Activation.NONE
    block: str = ""
    prunable: bool = True
    trainable: bool = True

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)

    @property
    def weight_shape(self) -> tuple[int, ...]:
        """(out_features, in_features)."""
        return (self.out_features, self.in_features)

    def output_shape(self, shape: Shape) -> Shape:
        """(out_features, 1, 1)."""
        return (self.out_features, 1, 1)


@dataclass(frozen=True, slots=True)
class Add:
    """Element-wise sum of two tensors of one shape, then the activation: the residual join."""

    name: str
    left: str
    right: str
    activation: Activation = Activation.RELU

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.left, self.right)

    def output_shape(self, shape: Shape) -> Shape:
        """The shape of both inputs."""
        return shape


@dataclass(frozen=True, slots=True)
class Pool:
    """Average or maximum over windows; ``kernel=None`` covers the whole map (global pooling).

    Windows never overlap the border: rows and columns that do not fill one are dropped.
    """

    name: str
    input: str
    kind: str = "avg"
    kernel: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        """Names of the tensors read."""
        return (self.input,)

    def window(self, shape: Shape) -> tuple[tuple[int, int], tuple[int, int]]:
        """(kernel, stride) for an input of ``shape``; the stride defaults to the kernel."""
        kernel = self.kernel or (shape[1], shape[2])
        return kernel, self.stride or kernel

    def output_shape(self, shape: Shape) -> Shape:
        """(C, H, W) of the output for an input of ``shape``."""
        (kernel_h, kernel_w), (stride_h, stride_w) = self.window(shape)
        return (
            shape[0],
            (shape[1] - kernel_h) // stride_h + 1,
            (shape[2] - kernel_w) // stride_w + 1,
        )


Node = Conv | Linear | Add | Pool
Layer = Conv | Linear
"""A node with weights."""


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
            used twice, or an output is no node's.

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
    """

    name: str
    input_shape: Shape
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...] = ()
    loss: Loss = Loss.CROSS_ENTROPY

    def __post_init__(self) -> None:
        produced = list(self.shapes)[1:]  # checks every node now, not at first use
        if not produced:
            raise GraphError(f"graph {self.name!r} has no nodes")
        if not self.outputs:
            object.__setattr__(self, "outputs", (produced[-1],))
        for name in self.outputs:
            if name not in produced:
                raise GraphError(f"output {name!r} of graph {self.name!r} is the name of no node")

    @cached_property
    def shapes(self) -> dict[str, Shape]:
        """(C, H, W) of every tensor by name, the input included."""
        shapes: dict[str, Shape] = {INPUT: self.input_shape}
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
            if not isinstance(node, Pool) and not node.activation.clamps:
                names.append(f"{node.name}.linear")
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

    def parameters(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """(name, shape) of every trained parameter, in layer order.

        Names are those of the checkpoint: ``{layer}.weight``, ``{layer}.bias``,
        ``{layer}.bn.weight``, ``{layer}.bn.bias``.
        """
        for layer in self.layers:
            yield f"{layer.name}.weight", layer.weight_shape
            channels = (layer.weight_shape[0],)
            if isinstance(layer, Conv) and layer.batch_norm:
                yield f"{layer.name}.bn.weight", channels
                yield f"{layer.name}.bn.bias", channels
            else:
                yield f"{layer.name}.bias", channels

    def statistics(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """(name, shape) of every batch-norm running statistic, in layer order.

        ``{layer}.bn.running_mean`` and ``{layer}.bn.running_var``. There is no integer
        ``num_batches_tracked``: it carries nothing the run's round number does not.
        """
        for layer in self.batch_norms:
            yield f"{layer.name}.bn.running_mean", (layer.out_channels,)
            yield f"{layer.name}.bn.running_var", (layer.out_channels,)


def _checked_output_shape(node: Node, shapes: dict[str, Shape]) -> Shape:
    if node.name in shapes:
        raise GraphError(f"node {node.name!r}: the name is used twice; rename one of them")
    for name in node.inputs:
        if name not in shapes:
            raise GraphError(
                f"node {node.name!r} reads {name!r}, which no earlier node produces; "
                f"known so far: {', '.join(shapes)}"
            )
    shape = shapes[node.inputs[0]]
    _check_input(node, shape, shapes)
    result = node.output_shape(shape)
    if min(result) < 1:
        raise GraphError(
            f"node {node.name!r}: input {shape} is too small, output would be {result}"
        )
    return result


def _check_input(node: Node, shape: Shape, shapes: dict[str, Shape]) -> None:
    match node:
        case Conv():
            if shape[0] != node.in_channels:
                raise GraphError(
                    f"node {node.name!r} expects {node.in_channels} input channels, "
                    f"{node.input!r} has {shape[0]}"
                )
            if node.in_channels % node.groups or node.out_channels % node.groups:
                raise GraphError(f"node {node.name!r}: groups={node.groups} divides not both sides")
        case Linear():
            features = shape[0] * shape[1] * shape[2]
            if features != node.in_features:
                raise GraphError(
                    f"node {node.name!r} expects {node.in_features} features, "
                    f"{node.input!r} has {features}"
                )
        case Add():
            if shapes[node.right] != shape:
                raise GraphError(
                    f"node {node.name!r} adds {shape} and {shapes[node.right]}, which differ"
                )
        case Pool():
            if node.kind not in ("avg", "max"):
                raise GraphError(
                    f"node {node.name!r}: kind must be 'avg' or 'max', not {node.kind!r}"
                )
