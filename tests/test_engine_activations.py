"""Activation pruning in the sparse engine, against autograd with the saved copies pruned."""

from __future__ import annotations

from math import ceil

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from builders import batch_of, masks_by_parameter, random_model
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedtiny.devices.budget import engine_of
from fedtiny.engine import EngineOptions, Executor, available, plan
from fedtiny.engine.activations import pruned_layers
from fedtiny.engine.layout import Layout, lanes_for
from fedtiny.engine.library import EngineError, load
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Linear, Node, Pool
from fedtiny.models.ops.conv import BATCH_NORM_EPSILON
from fedtiny.models.sparse_model import SparseModel
from fedtiny.training.masked.engine import MaskedDense
from fedtiny.training.sparse.engine import Sparse
from fedtiny.training.trainer import SgdConfig

pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")


Pair = tuple[torch.Tensor, torch.Tensor]

MODELS = {
    "resnet8": ((1, 11, 13), 10, 21),
    "smartwatch_cnn": ((6, 1, 50), 7, 40),
    "ds_cnn": ((1, 49, 10), 12, 5),
    "vgg11": ((3, 32, 32), 10, 5),
}


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
                pool = F.avg_pool2d if node.kind == "avg" else F.max_pool2d
                x = pool(x, *node.window(tuple(x.shape[1:])))
                return x, x.detach()
        if node.activation is Activation.NONE:
            return x, seen.detach()
        return F.relu(x), F.relu(seen.detach())

    def _conv(self, node: Conv, x: torch.Tensor, seen: torch.Tensor) -> Pair:
        def f(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
            return F.conv2d(x, weight, None, node.stride, node.padding, 1, node.groups)

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


def assert_agrees(trainer: Executor, oracle: Pruned, x, y, tolerance: float) -> None:
    """Loss and every gradient, errors relative to the largest entry."""
    loss, (expected_loss, expected) = trainer.backward(x, y), oracle.gradients(x, y)
    assert loss == pytest.approx(expected_loss, rel=tolerance)
    masks, found = masks_by_parameter(trainer.model()), trainer.gradients()
    scale = max(np.abs(grad).max() for grad in expected.values())
    for name, grad in expected.items():
        mask = masks.get(name)
        held = grad.reshape(-1) if mask is None else grad.reshape(-1)[mask.indices]
        np.testing.assert_allclose(found[name], held, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.mark.parametrize(
    ("name", "density"), [*((name, 0.5) for name in MODELS), ("resnet8", 0.07)]
)
def test_gradients_are_those_of_autograd_with_pruned_copies(name, density, lib64):
    shape, classes, samples = MODELS[name]
    graph = build(name, shape, classes)
    model = random_model(graph, 0.4)
    x, y = batch_of(graph, samples)
    trainer = Executor(
        graph, model, EngineOptions(samples, activation_density=density, threads=2), lib=lib64
    )
    assert_agrees(trainer, Pruned(graph, model, density), x, y, 1e-9)


ACTIVATIONS = st.sampled_from([Activation.NONE, Activation.RELU])


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """A stem, a strided or grouped layer, a sum around one more, pooling of either kind."""
    height, width, channels = draw(st.integers(2, 9)), draw(st.integers(2, 11)), 4
    stride, groups = draw(st.integers(1, 2)), draw(st.sampled_from([1, 4]))
    last = draw(st.sampled_from(["again", "sum"]))
    pad = {"padding": (1, 1)}
    kinds = [draw(ACTIVATIONS) for _ in range(4)]
    nodes: list[Node] = [
        Conv("stem", INPUT, 2, channels, (3, 3), **pad, activation=kinds[0], prunable=False),
        Conv("body", "stem", channels, 4, (3, 3), (stride, 1), (1, 1), groups, activation=kinds[1],
             batch_norm=draw(st.booleans())),
        Conv("again", "body", 4, 4, (3, 3), **pad, activation=kinds[2]),
        Add("sum", *draw(st.permutations(["again", "body"])), activation=kinds[3]),
    ]  # fmt: skip
    pool = Pool("pool", last, draw(st.sampled_from(["avg", "max"])), (1, 2), (1, 2))
    features = int(np.prod(pool.output_shape((4, -(-height // stride), width))))
    nodes += [pool, Linear("classifier", "pool", features, 3, prunable=False)]
    return Graph("random", (2, height, width), tuple(nodes[: 3 + (last == "sum")] + nodes[4:]))


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    graph=graphs(),
    density=st.sampled_from([0.02, 0.4, 0.97]),
    samples=st.integers(4, 37),
    choice=st.integers(0, 2),
)
def test_any_layer_agrees_at_any_density(lib64, graph, density, samples, choice):
    model = random_model(graph, 0.5)
    x, y = batch_of(graph, samples)
    sets = lib64.instruction_sets
    trainer = Executor(
        graph,
        model,
        EngineOptions(samples, activation_density=density),
        lib=lib64,
        instruction_set=sets[choice % len(sets)],
    )
    assert_agrees(trainer, Pruned(graph, model, density), x, y, 1e-9)


def test_copies_that_keep_everything_change_nothing(lib64):
    graph = build("resnet8", (1, 11, 13), 10)
    model = random_model(graph, 0.1)
    x, y = batch_of(graph, 21)
    trainer = Executor(graph, model, EngineOptions(21, activation_density=0.9999), lib=lib64)
    assert pruned_layers(trainer.layout)
    whole = Executor(graph, model, EngineOptions(21), lib=lib64)
    assert trainer.backward(x, y) == whole.backward(x, y)
    for name, expected in whole.gradients().items():
        np.testing.assert_allclose(trainer.gradients()[name], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("samples", [5, 40])
def test_float32_kernels_prune_alike(samples):
    graph = build("resnet8", (1, 16, 16), 4)
    model = random_model(graph, 0.1)
    x, y = batch_of(graph, samples)
    exact = Pruned(graph, model, 0.5).gradients(x, y)[1]["stem.weight"].reshape(-1)
    for name in load().instruction_sets:
        trainer = Executor(
            graph, model, EngineOptions(samples, activation_density=0.5), instruction_set=name
        )
        trainer.backward(x, y)
        error = np.linalg.norm(trainer.gradients()["stem.weight"] - exact) / np.linalg.norm(exact)
        assert error < 1e-3  # not rounding alone: it may swap two values at the threshold


def test_growth_sees_the_same_pruned_copies(lib64):
    graph = build("resnet8", (1, 9, 9), 4)
    model = random_model(graph, 0.2)
    x, y = batch_of(graph, 12)
    trainer = Executor(graph, model, EngineOptions(12, activation_density=0.3), lib=lib64)
    found = trainer.growth(x, y, {"stage2.conv1": 40, "stage3.shortcut": 7})
    expected = Pruned(graph, model, 0.3).gradients(x, y)[1]
    for name, (indices, values) in found.items():
        dense = expected[f"{name}.weight"].reshape(-1)
        np.testing.assert_allclose(values, dense[indices], rtol=1e-6, atol=1e-12)
        absent = np.abs(dense[model.masks[name].complement()])
        assert np.sort(np.abs(values))[0] >= np.sort(absent)[-len(values)] * (1 - 1e-6)


def test_what_a_max_pool_reads_is_kept_whole():
    graph = build("vgg11", (3, 32, 32), 10)
    masks = random_model(graph, 0.1).masks
    pruned = pruned_layers(Layout(graph, masks, EngineOptions(4, activation_density=0.5)))
    pooled = {n.input for n in graph.nodes if isinstance(n, Pool) and n.kind == "max"}
    assert pooled
    assert not pooled & set(pruned)
    assert {conv.name for conv in graph.batch_norms} == pooled | set(pruned)
    assert pruned_layers(Layout(graph, masks, EngineOptions(4))) == ()


def test_pruning_saves_memory_and_the_ledger_knows_how_much():
    graph = build("resnet8", (1, 28, 28), 10)
    model = random_model(graph, 0.05)
    x, y = batch_of(graph, 64)
    whole = plan(graph, model.masks, EngineOptions(64))
    half = plan(graph, model.masks, EngineOptions(64, activation_density=0.5))
    assert half.arena_bytes < 0.82 * whole.arena_bytes
    engine = Sparse(0.5)
    [(step, predicted)] = engine.steps(graph, model.masks, 64, 64, {})
    measured = engine.measure(graph, model, SgdConfig(0.1), x, y, step)
    assert measured == predicted.peak_bytes


def test_only_fedmef_prunes_and_only_in_the_sparse_engine(tiny_config):
    assert tiny_config("pruning.method=fedtiny").method.saved_density == 1
    assert tiny_config("pruning.method=fedmef").method.saved_density == 0.5
    with pytest.raises(Exception, match="needs the sparse engine"):
        engine_of(tiny_config("pruning.method=fedmef", "training.engine=torch"))
    whole = ("pruning.method=fedmef", "training.engine=torch", "pruning.activation_density=1")
    assert isinstance(engine_of(tiny_config(*whole)), MaskedDense)


def test_recomputing_excludes_pruning():
    graph = build("smartwatch_cnn", (6, 1, 50), 7)
    masks = random_model(graph, 0.1).masks
    with pytest.raises(EngineError, match="leave recompute empty"):
        plan(graph, masks, EngineOptions(8, recompute=("conv1",), activation_density=0.5))
