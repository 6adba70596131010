"""Peak memory of a masked-dense PyTorch training step, in closed form from the layer graph.

Nothing is run and torch is not imported: :func:`predict` replays, tensor by tensor, what one
micro-batch of ``fedtiny.models.torch_module`` allocates and frees, forward then backward, and
keeps the moment with most bytes live. What it replays was read off the allocator's events of
PyTorch on x86-64, whose convolutions run in oneDNN:

* oneDNN computes on copies in its own blocked layout (channels padded to a multiple of 8), so
  a convolution needs its input, weights and output once more while it runs;
* the input gradient of a strided convolution comes back in that layout and is copied twice;
* batch norm saves its input, ReLU (in place) its output; a ReLU-less output is kept only if
  the next layer saves it; avg_pool2d saves its input.

Left out: scratchpads (a few dozen KB, never at the peak), scalars, and the temporary that weight
decay makes of one parameter at a time. Other CPUs' kernels (AArch64) use other workspaces.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

from fedtiny.memory.ledger import LedgerLine, MemoryPrediction
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Concat, Conv, Linear, Node, Pool, Upsample

FLOAT_BYTES = 4
LABEL_BYTES = 8
"""Labels are int64."""
MASK_BYTES = 1
"""A pruned layer's mask is a bool tensor of the weight's shape …"""
INDEX_BYTES = 4
"""… beside the flat indices (int32) that came with the model."""
TOP_K_ENTRY_BYTES = 8
"""A flat index (int32) and a value (float32)."""

_CHANNEL_BLOCK = 8


def predict(
    graph: Graph,
    batch: int,
    micro_batch: int,
    nnz: Mapping[str, int] | None = None,
    top_k: int = 0,
) -> MemoryPrediction:
    """Peak of a training step that is not the client's first (momentum exists already).

    The batch's gradient is accumulated over micro-batches; the optimizer is SGD with momentum.

    Args:
        graph: the model. Sparsity saves nothing here: weights are dense tensors.
        batch: samples per optimizer step, all of them resident.
        micro_batch: samples per forward and backward pass, at most ``batch``.
        nnz: weights present, by layer name, of the layers under a mask.
        top_k: entries of the buffer of absent weights' gradients; 0 outside adjustments.

    Raises:
        ValueError: ``micro_batch`` is not in 1..``batch``.

    >>> from fedtiny.models import smartwatch_cnn
    >>> graph = smartwatch_cnn((6, 1, 128), 7)
    >>> predict(graph, 64, 8).peak_bytes < predict(graph, 64, 64).peak_bytes / 4
    True
    """
    if not 1 <= micro_batch <= batch:
        raise ValueError(f"micro_batch must be in 1..{batch}, got {micro_batch}")
    step = _Step(graph, micro_batch, accumulating=micro_batch < batch)
    step.live.grow(LedgerLine.BATCH, batch * (_sample_bytes(graph, INPUT) + LABEL_BYTES))
    step.live.grow(LedgerLine.TOP_K, top_k * TOP_K_ENTRY_BYTES)
    step.live.grow(LedgerLine.INDICES, _mask_bytes(graph, nnz or {}))
    step.forward()
    step.backward()
    return MemoryPrediction(step.live.at_peak)


def _sample_bytes(graph: Graph, tensor: str) -> int:
    return prod(graph.shapes[tensor]) * FLOAT_BYTES


def _mask_bytes(graph: Graph, nnz: Mapping[str, int]) -> int:
    total = 0
    for name, present in nnz.items():
        size = prod(graph.layer(name).weight_shape)
        total += present * INDEX_BYTES + (size * MASK_BYTES if present < size else 0)
    return total


_IN_PLACE = (Activation.NONE, Activation.RELU)
"""The others are kept with the input that their gradient needs."""


class _Live:
    """Bytes live per line, and what they were when their sum was largest."""

    def __init__(self) -> None:
        self.now = dict.fromkeys(LedgerLine, 0)
        self.at_peak = dict(self.now)

    def grow(self, line: LedgerLine, size: int) -> None:
        self.now[line] += size
        if sum(self.now.values()) > sum(self.at_peak.values()):
            self.at_peak = dict(self.now)

    def shrink(self, line: LedgerLine, size: int) -> None:
        self.now[line] -= size

    def spike(self, line: LedgerLine, size: int) -> None:
        """Allocated and freed again at once."""
        self.grow(line, size)
        self.shrink(line, size)


class _Gradient:
    """Gradient of one tensor; an addition hands the same one to both its inputs."""

    def __init__(self, live: _Live, size: int) -> None:
        self.live, self.size, self.references = live, size, 1
        live.grow(LedgerLine.TEMPORARIES, size)

    def shared(self) -> _Gradient:
        self.references += 1
        return self

    def drop(self) -> None:
        self.references -= 1
        if self.references == 0:
            self.live.shrink(LedgerLine.TEMPORARIES, self.size)


class _Step:
    """Replays the allocations of the last micro-batch of one optimizer step."""

    def __init__(self, graph: Graph, micro_batch: int, accumulating: bool) -> None:
        self.graph, self.micro_batch, self.accumulating = graph, micro_batch, accumulating
        self.live = _Live()
        self.gradients: dict[str, _Gradient] = {}
        parameters = sum(prod(row.shape) for row in graph.parameters) * FLOAT_BYTES
        statistics = sum(prod(row.shape) for row in graph.statistics) * FLOAT_BYTES
        self.live.grow(LedgerLine.WEIGHTS, parameters + statistics)
        self.live.grow(LedgerLine.OPTIMIZER, parameters)
        if accumulating:
            self.live.grow(LedgerLine.GRADIENTS, parameters)

    def size(self, tensor: str) -> int:
        return self.micro_batch * _sample_bytes(self.graph, tensor)

    def forward(self) -> None:
        """Leaves on the ledger what the backward pass needs."""
        last_use = {name: node for node in self.graph.nodes for name in node.inputs}
        for node in self.graph.nodes:
            if isinstance(node, Conv | Pool):
                self.live.grow(LedgerLine.SAVED_ACTIVATIONS, self._padded_copy(node))
            if isinstance(node, Conv):
                self._convolve(node)
            self.live.grow(LedgerLine.SAVED_ACTIVATIONS, self.size(node.name))
            if node.activation not in _IN_PLACE:
                self.live.grow(LedgerLine.SAVED_ACTIVATIONS, self.size(node.name))
            for name in node.inputs:
                if name != INPUT and last_use[name] is node and not self._is_saved(name):
                    self.live.shrink(LedgerLine.SAVED_ACTIVATIONS, self.size(name))

    def _convolve(self, node: Conv) -> None:
        output = self.size(node.name)
        needed = self._blocked_input(node) + _weight_bytes(node) + output
        self.live.spike(LedgerLine.KERNEL_WORKSPACE, needed)
        if node.batch_norm:
            # The convolution's output; with it mean and inverse deviation per channel.
            saved = output + 2 * node.out_channels * FLOAT_BYTES
            self.live.grow(LedgerLine.SAVED_ACTIVATIONS, saved)

    def _blocked_input(self, node: Conv) -> int:
        # oneDNN reads an input of fewer channels than a block as it is.
        return self.size(node.input) if node.in_channels >= _CHANNEL_BLOCK else 0

    def _is_saved(self, tensor: str) -> bool:
        """Whether the backward pass reads the tensor."""
        node = next(node for node in self.graph.nodes if node.name == tensor)
        if node.activation is Activation.RELU:
            return True
        consumers = self.graph.consumers[tensor]
        return any(
            n.name in consumers and not isinstance(n, Add | Concat | Upsample)
            for n in self.graph.nodes
        )

    def backward(self) -> None:
        """From the loss's gradient to the first layer; frees what the forward pass saved."""
        logits = self.graph.logits
        # Log-softmax keeps its output and computes its gradient from another of that size.
        self.live.grow(LedgerLine.SAVED_ACTIVATIONS, self.size(logits))
        self.gradients[logits] = _Gradient(self.live, self.size(logits))
        self.live.spike(LedgerLine.TEMPORARIES, self.size(logits))
        self.live.shrink(LedgerLine.SAVED_ACTIVATIONS, self.size(logits))
        for node in reversed(self.graph.nodes):
            if node.name in self.gradients:  # the loss depends on it
                self._backward(node, self.gradients.pop(node.name))

    def _backward(self, node: Node, gradient: _Gradient) -> None:
        if node.activation is not Activation.NONE:
            gradient = self._replace(gradient, self.size(node.name))
        if node.activation not in _IN_PLACE:
            self.live.shrink(LedgerLine.SAVED_ACTIVATIONS, self.size(node.name))
        if self._is_saved(node.name) or node.name == self.graph.logits:
            self.live.shrink(LedgerLine.SAVED_ACTIVATIONS, self.size(node.name))
        match node:
            case Conv():
                self._backward_conv(node, gradient)
            case Linear():
                self._produce(node.input)
                self._new_gradient(_weight_bytes(node))
                self._new_gradient(node.out_features * FLOAT_BYTES)
                gradient.drop()
            case Pool():
                self._unpad(node)
                self._produce(node.input)
                gradient.drop()
            case Upsample():
                self._produce(node.input)
                gradient.drop()
            case Concat():
                for name in node.inputs:
                    self._produce(name)
                gradient.drop()
            case Add():
                self._send(node.left, gradient)
                self._send(node.right, gradient.shared())

    def _replace(self, gradient: _Gradient, size: int) -> _Gradient:
        result = _Gradient(self.live, size)
        gradient.drop()
        return result

    def _backward_conv(self, node: Conv, gradient: _Gradient) -> None:
        output, workspace = self.size(node.name), LedgerLine.KERNEL_WORKSPACE
        if node.batch_norm:
            self.live.spike(LedgerLine.TEMPORARIES, 2 * output)
            gradient = self._replace(gradient, output)
            saved = output + 2 * node.out_channels * FLOAT_BYTES
            self.live.shrink(LedgerLine.SAVED_ACTIVATIONS, saved)
            self._new_gradient(2 * node.out_channels * FLOAT_BYTES)
        else:
            self._new_gradient(node.out_channels * FLOAT_BYTES)
        weight, size = _weight_bytes(node), self.size(node.input)
        if node.input != INPUT:
            self.live.spike(workspace, output + weight + size)
            self._send(node.input, self._input_gradient(node, size))
        self._unpad(node)
        self.live.spike(workspace, output + self._padded_input(node) + weight)
        self.live.grow(workspace, weight)
        self._new_gradient(weight)
        self.live.shrink(workspace, weight)
        gradient.drop()

    def _input_gradient(self, node: Conv, size: int) -> _Gradient:
        result = _Gradient(self.live, size)
        copies = 1 if node.stride == (1, 1) else 2
        self.live.spike(LedgerLine.KERNEL_WORKSPACE, copies * size)
        return result

    def _padded_copy(self, node: Conv | Pool) -> int:
        """Bytes of the input with its padding, where PyTorch is given a copy that has it."""
        if not any(node.padding) or (isinstance(node, Conv) and len(node.padding) == 2):
            return 0
        _, height, width = self.graph.shapes[node.input]
        high, wide = map(sum, node.pads)
        return self.size(node.input) // (height * width) * (height + high) * (width + wide)

    def _unpad(self, node: Conv | Pool) -> None:
        """The copy's gradient, from which the input's is cut; then neither is needed."""
        copied = self._padded_copy(node)
        self.live.spike(LedgerLine.TEMPORARIES, copied)
        self.live.shrink(LedgerLine.SAVED_ACTIVATIONS, copied)

    def _padded_input(self, node: Conv) -> int:
        blocks = -(-node.in_channels // _CHANNEL_BLOCK)
        return self.size(node.input) // node.in_channels * blocks * _CHANNEL_BLOCK

    def _new_gradient(self, size: int) -> None:
        """A parameter's gradient; if there is one already, it is added to that and freed."""
        if self.accumulating:
            self.live.spike(LedgerLine.TEMPORARIES, size)
        else:
            self.live.grow(LedgerLine.GRADIENTS, size)

    def _produce(self, tensor: str) -> None:
        """Allocate the tensor's gradient; the model's input has none."""
        if tensor != INPUT:
            self._send(tensor, _Gradient(self.live, self.size(tensor)))

    def _send(self, tensor: str, gradient: _Gradient) -> None:
        """Hand ``gradient`` to the tensor; a second one is added to the first."""
        if tensor == INPUT:
            gradient.drop()
            return
        earlier = self.gradients.get(tensor)
        if earlier is None:
            self.gradients[tensor] = gradient
            return
        if earlier.references > 1:  # somebody else still needs its value: not in place
            self.gradients[tensor] = _Gradient(self.live, gradient.size)
            earlier.drop()
        gradient.drop()


def _weight_bytes(layer: Conv | Linear) -> int:
    return prod(layer.weight_shape) * FLOAT_BYTES
