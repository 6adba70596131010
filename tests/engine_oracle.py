"""What the engine is compared with: autograd of the masked-dense network in float64.

:class:`Oracle` saves what autograd saves; :class:`Pruned` prunes the copies that the backward pass
multiplies with, as activation pruning does.
"""

from __future__ import annotations

from collections.abc import Callable
from math import ceil

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from builders import masks_by_parameter

from fedtiny.engine import EngineOptions, Executor
from fedtiny.engine.activations import pruned_layers
from fedtiny.engine.layout import Layout, lanes_for
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Linear, Node, Pool, Upsample
from fedtiny.models.ops.conv import BATCH_NORM_EPSILON
from fedtiny.models.sparse_model import SparseModel

TORCH: dict[Activation, Callable[[torch.Tensor], torch.Tensor]] = {
    Activation.NONE: lambda x: x,
    Activation.RELU: F.relu,
    Activation.RELU6: F.relu6,
    Activation.HARD_SWISH: F.hardswish,
}
"""The activations as PyTorch has them."""

NETWORKS = {
    "resnet8": ((1, 11, 13), 10, 21),
    "smartwatch_cnn": ((6, 1, 50), 7, 40),
    "ds_cnn": ((1, 49, 10), 12, 5),
    "vgg11": ((3, 32, 32), 10, 5),
}
"""(input shape, classes, samples) by model: small, odd, and of every kind of layer."""


def padded(node: Conv | Pool, x: torch.Tensor, value: float = 0.0) -> torch.Tensor:
    (top, bottom), (left, right) = node.pads
    return F.pad(x, (left, right, top, bottom), value=value)


def pooled(node: Pool, x: torch.Tensor) -> torch.Tensor:
    """Window by window: the maximum, or the mean, of what lies inside the map."""
    (kernel_h, kernel_w), (stride_h, stride_w) = node.window(tuple(x.shape[1:]))
    seen = padded(node, x, torch.nan).unfold(2, kernel_h, stride_h).unfold(3, kernel_w, stride_w)
    seen = seen.flatten(4)
    if node.kind == "avg":
        return seen.nanmean(-1)
    return seen.nan_to_num(-torch.inf).max(-1).values


class Oracle:
    """A graph in torch's own operators, weights outside the masks being zero."""

    def __init__(self, graph: Graph, model: SparseModel) -> None:
        self.graph, self.model = graph, model
        self.tensors = {
            name: torch.tensor(values, dtype=torch.float64, requires_grad="running" not in name)
            for name, values in model.to_dense().items()
        }

    def logits(self, x: np.ndarray, training: bool = True) -> torch.Tensor:
        values = self.seen = {INPUT: torch.tensor(x, dtype=torch.float64)}
        for node in self.graph.nodes:
            values[node.name] = self._node(node, values, training)
        return values[self.graph.logits].flatten(1)

    def _node(self, node: Node, values: dict[str, torch.Tensor], training: bool) -> torch.Tensor:
        x = values[node.inputs[0]]
        match node:
            case Conv():
                x = self._conv(node, x, training)
            case Linear():
                weight, bias = (self.tensors[f"{node.name}.{p}"] for p in ("weight", "bias"))
                x = F.linear(x.flatten(1), weight, bias)[:, :, None, None]
            case Add():
                x = x + values[node.right]
            case Pool():
                return pooled(node, x)
            case Upsample():
                return F.interpolate(x, size=node.size, mode="nearest")
        if not node.activation.clamps:
            values[f"{node.name}.linear"] = x
        return TORCH[node.activation](x)

    def _conv(self, node: Conv, x: torch.Tensor, training: bool) -> torch.Tensor:
        t, bias = self.tensors, self.tensors.get(f"{node.name}.bias")
        weight = t[f"{node.name}.weight"]
        x = F.conv2d(padded(node, x), weight, bias, node.stride, 0, 1, node.groups)
        if not node.batch_norm:
            return x
        norm = ("running_mean", "running_var", "weight", "bias")
        parameters = [t[f"{node.name}.bn.{name}"] for name in norm]
        return F.batch_norm(x, *parameters, training, 0.1, BATCH_NORM_EPSILON)

    def loss(self, x: np.ndarray, y: np.ndarray, training: bool = True) -> torch.Tensor:
        return F.cross_entropy(self.logits(x, training), torch.tensor(y))

    def gradients(self, x: np.ndarray, y: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """(loss, dense gradients by parameter name); updates the running statistics."""
        loss = self.loss(x, y)
        names = [name for name, tensor in self.tensors.items() if tensor.requires_grad]
        grads = torch.autograd.grad(loss, [self.tensors[n] for n in names], allow_unused=True)
        found = {
            name: np.zeros(self.tensors[name].shape) if grad is None else grad.numpy()
            for name, grad in zip(names, grads, strict=True)
        }
        return loss.item(), found


def assert_agrees(trainer: Executor, oracle: Oracle, x, y, tolerance: float) -> None:
    """Loss, every gradient and every running statistic, errors relative to the largest entry."""
    loss = trainer.backward(x, y)
    expected_loss, expected = oracle.gradients(x, y)
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    masks, found = masks_by_parameter(oracle.model), trainer.gradients()
    scale = max(np.abs(grad).max() for grad in expected.values())
    for name, grad in expected.items():
        mask = masks.get(name)
        held = grad.reshape(-1) if mask is None else grad.reshape(-1)[mask.indices]
        np.testing.assert_allclose(found[name], held, rtol=0, atol=tolerance * scale, err_msg=name)
    for name in [row.name for row in oracle.graph.statistics]:
        statistic = trainer.state.arrays[name]
        expected_statistic = oracle.tensors[name].numpy()
        np.testing.assert_allclose(statistic, expected_statistic, rtol=tolerance, atol=tolerance)


Pair = tuple[torch.Tensor, torch.Tensor]


def pruned_copy(z: torch.Tensor, mean: torch.Tensor, density: float) -> torch.Tensor:
    """``z`` (N, C, H, W) with the smallest |z − mean| of each channel of each block at the mean."""
    lanes, copies = lanes_for(len(z)), []
    for block in z.split(lanes):
        kept = min(ceil(density * (lanes * z[0, 0].numel()) - 1e-9), block[:, 0].numel())
        values = (block - mean).permute(1, 2, 3, 0)  # of equal ones the first position, then sample
        order = values.flatten(1).abs().argsort(dim=1, descending=True, stable=True)[:, :kept]
        chosen = torch.zeros(values.flatten(1).shape, dtype=torch.bool).scatter(1, order, True)
        chosen = chosen.view(values.shape).permute(3, 0, 1, 2)
        copies.append(torch.where(chosen, block, mean))
    return torch.cat(copies)


class Layer(torch.autograd.Function):
    """f(x, w) whose weight gradient sees ``saved`` in place of x."""

    @staticmethod
    def forward(ctx, f, x, saved, weight):
        ctx.f = f
        ctx.save_for_backward(x, saved, weight)
        return f(x, weight)

    @staticmethod
    def backward(ctx, grad):
        x, saved, weight = ctx.saved_tensors
        with torch.enable_grad():
            x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
            (to_x,) = torch.autograd.grad(ctx.f(x, weight), x, grad)
            (to_weight,) = torch.autograd.grad(ctx.f(saved, weight), weight, grad)
        return None, to_x, None, to_weight


class Norm(torch.autograd.Function):
    """Batch norm whose backward pass sees ``saved`` in place of its input."""

    @staticmethod
    def forward(ctx, z, saved, mean, deviation, gamma, beta):
        ctx.save_for_backward((saved - mean) / deviation, deviation, gamma)
        return (z - mean) / deviation * gamma + beta

    @staticmethod
    def backward(ctx, grad):
        normal, deviation, gamma = ctx.saved_tensors
        over = {"dim": (0, 2, 3), "keepdim": True}
        correction = grad.mean(**over) + normal * (grad * normal).mean(**over)
        to_gamma, to_beta = (grad * normal).sum(**over), grad.sum(**over)
        return gamma / deviation * (grad - correction), None, None, None, to_gamma, to_beta


class Pruned:
    """The masked-dense network; every saved value that a gradient is multiplied with is pruned."""

    def __init__(self, graph: Graph, model: SparseModel, density: float) -> None:
        self.graph, self.density = graph, density
        layout = Layout(graph, model.masks, EngineOptions(1, activation_density=density))
        self.pruned = pruned_layers(layout)
        self.tensors = {
            name: torch.tensor(values, dtype=torch.float64, requires_grad="running" not in name)
            for name, values in model.to_dense().items()
        }

    def gradients(self, x: np.ndarray, y: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
        """(loss, dense gradients by parameter name)."""
        exact = torch.tensor(x, dtype=torch.float64)
        pairs = {INPUT: (exact, exact)}  # what flows on, and what the backward pass sees of it
        for node in self.graph.nodes:
            pairs[node.name] = self._node(node, *(pairs[name] for name in node.inputs))
        logits = pairs[self.graph.logits][0].flatten(1)
        loss = F.cross_entropy(logits, torch.tensor(y))
        names = [name for name, tensor in self.tensors.items() if tensor.requires_grad]
        grads = torch.autograd.grad(loss, [self.tensors[name] for name in names])
        return loss.item(), {n: grad.numpy() for n, grad in zip(names, grads, strict=True)}

    def _node(self, node: Node, pair: Pair, other: Pair | None = None) -> Pair:
        x, seen = pair
        match node:
            case Conv():
                x, seen = self._conv(node, x, seen)
            case Linear():
                weight, bias = (self.tensors[f"{node.name}.{p}"] for p in ("weight", "bias"))
                x = Layer.apply(lambda x, w: F.linear(x.flatten(1), w), x, seen, weight) + bias
                x = seen = x[:, :, None, None]
            case Add():
                assert other is not None
                x, seen = x + other[0], seen + other[1]
            case Pool():
                x = pooled(node, x)
                return x, x.detach()
        return TORCH[node.activation](x), TORCH[node.activation](seen.detach())

    def _conv(self, node: Conv, x: torch.Tensor, seen: torch.Tensor) -> Pair:
        def f(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return F.conv2d(padded(node, x), weight, None, node.stride, 0, 1, node.groups)

        z = Layer.apply(f, x, seen, self.tensors[f"{node.name}.weight"])
        if not node.batch_norm:
            z = z + self.tensors[f"{node.name}.bias"][:, None, None]
            return z, z
        names = (f"{node.name}.bn.weight", f"{node.name}.bn.bias")
        gamma, beta = (self.tensors[name][:, None, None] for name in names)
        old = z.detach()
        variance, mean = torch.var_mean(old, (0, 2, 3), correction=0, keepdim=True)
        deviation = (variance + BATCH_NORM_EPSILON).sqrt()
        saved = pruned_copy(old, mean, self.density) if node.name in self.pruned else old
        out = Norm.apply(z, saved, mean, deviation, gamma, beta)
        return out, (saved - mean) / deviation * gamma + beta
