"""Activation pruning: which saved outputs are kept pruned, and in how many bytes.

FedMef's activation pruning (Huang et al. 2024, arXiv 2403.14737, "Scaled Activation Pruning") with
batch norm kept. A batch-normed convolution's output is all that a step saves here: the next layer's
input is computed from it where it is read, and the batch norm's backward pass needs it. From its
last reader in the forward pass to the first in the backward pass only the ``activation_density``
part of it is kept that lies furthest from the mean, per channel and block of samples; the rest
reads as the mean. Exact are therefore the forward pass, the batch statistics, the gates of ReLU
and ReLU6 (a bit each) and a gradient's way through the weights; approximate is what multiplies it
with a saved value: weight gradients, γ's, and the terms of batch norm's backward pass that hold
its input. The paper prunes the inputs of convolutions whose weights are normalized instead, without
batch norm: another network than the other methods train.

Kept whole: outputs without batch norm, outputs a max pool reads, whose largest value would
otherwise be a guess, and the argument of a hard-swish, whose gradient no bit could give.
"""

from __future__ import annotations

from math import ceil

from fedtiny.engine.layout import Layout
from fedtiny.models.ops import Add, Conv, Pool, Shape


def pruned_layers(layout: Layout) -> tuple[str, ...]:
    """Convolutions whose outputs are kept pruned, in graph order; none at density 1."""
    if layout.options.activation_density == 1:
        return ()
    whole: set[str] = set()
    for node in reversed(layout.graph.nodes):
        if isinstance(node, Pool) and node.kind == "max":
            whole.add(node.input)
        elif isinstance(node, Add) and (node.name in whole or not node.activation.clamps):
            whole.update(node.inputs)
        elif isinstance(node, Conv) and not node.activation.clamps:
            whole.add(node.name)
    return tuple(conv.name for conv in layout.graph.batch_norms if conv.name not in whole)


def capacity(layout: Layout, shape: Shape) -> int:
    """Values kept of one channel of one block of samples."""
    values = shape[1] * shape[2] * layout.lanes
    # 0.07 · 100 is 7.000000000000001
    return ceil(layout.options.activation_density * values - 1e-9)


def packed_bytes(layout: Layout, shape: Shape) -> int:
    """Bytes of a pruned output (``packed_reals`` in activations.h)."""
    bits = -(-_bit_bytes(layout, shape) // layout.real_bytes)
    return layout.reals(layout.blocks * shape[0] * (capacity(layout, shape) + 1 + bits))


def gate_bytes(layout: Layout, shape: Shape) -> int:
    """Bytes of the gates of a tensor behind a clamp."""
    return layout.blocks * shape[0] * _bit_bytes(layout, shape)


def _bit_bytes(layout: Layout, shape: Shape) -> int:
    """Bytes of one bit per value of one channel of one block: a word per position."""
    return shape[1] * shape[2] * (2 if layout.lanes > 8 else 1)
