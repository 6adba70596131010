"""Activations of 16 bits in the sparse engine, against autograd with the same numbers rounded."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from builders import activated, batch_of, masks_by_parameter, random_model
from engine_oracle import NETWORKS, TORCH, Oracle, assert_agrees, padded
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import trained_graphs

from fedtiny.devices.budget import engine_of
from fedtiny.engine import EngineOptions, Executor, available, plan
from fedtiny.engine.layout import Layout
from fedtiny.engine.library import EngineError, load
from fedtiny.engine.narrow import narrow_layers
from fedtiny.errors import FedTinyError
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Node
from fedtiny.models.ops.conv import BATCH_NORM_EPSILON
from fedtiny.models.sparse_model import SparseModel

pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")


def as_bfloat16(x: torch.Tensor) -> torch.Tensor:
    """The nearest number whose float32 ends in sixteen zeros; of two, the one further from 0."""
    bits = x.to(torch.float32).view(torch.int32)
    return ((bits + 0x8000) & ~0xFFFF).view(torch.float32).to(torch.float64)


class Read(torch.autograd.Function):
    """x as a tile holds it; its gradient is not rounded."""

    @staticmethod
    def forward(ctx, x):
        return as_bfloat16(x)

    @staticmethod
    def backward(ctx, grad):
        return grad


class Stored(torch.autograd.Function):
    """z + bias rounded, and on the way back the gradient that takes its place; the bias' is not."""

    @staticmethod
    def forward(ctx, z, bias):
        return as_bfloat16(z + bias.view(1, -1, 1, 1))

    @staticmethod
    def backward(ctx, grad):
        return as_bfloat16(grad), grad.sum((0, 2, 3))


class Handed(torch.autograd.Function):
    """x; its gradient is rounded, as the map is that nodes hand on and add to."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return as_bfloat16(grad)


class Values(dict[str, torch.Tensor]):
    """Tensors by name. Behind whoever reads one first stands who reads it next: on the way back the
    last reader's gradient is rounded, then the sum with that of the one before, and so on."""

    def __getitem__(self, name: str) -> torch.Tensor:
        x = super().__getitem__(name)
        if x.shape[2] * x.shape[3] > 1:
            self[name] = x = Handed.apply(x)
        return x


class Rounded(Oracle):
    """The masked-dense network whose maps, and their gradients, are kept as bfloat16."""

    def __init__(self, graph: Graph, model: SparseModel) -> None:
        super().__init__(graph, model)
        layout = Layout(graph, model.masks, EngineOptions(1, activation_bits=16))
        self.narrow = narrow_layers(layout)

    def logits(self, x: np.ndarray, training: bool = True) -> torch.Tensor:
        if not training:
            return super().logits(x, training)
        values = Values({INPUT: torch.tensor(x, dtype=torch.float64)})
        for node in self.graph.nodes:
            values[node.name] = self._node(node, values, training)
        return values[self.graph.logits].flatten(1)

    def _node(self, node: Node, values: dict[str, torch.Tensor], training: bool) -> torch.Tensor:
        if not (isinstance(node, Add) and training):
            return super()._node(node, values, training)
        total = Values({node.name: values[node.left] + values[node.right]})
        return TORCH[node.activation](total[node.name])

    def _conv(self, node: Conv, x: torch.Tensor, training: bool) -> torch.Tensor:
        if node.name not in self.narrow or not training:
            return super()._conv(node, x, training)
        t = self.tensors
        weight = t[f"{node.name}.weight"]
        x = padded(node, Read.apply(x))
        z = F.conv2d(x, weight, None, node.stride, 0, 1, node.groups)
        if not node.batch_norm:
            return Stored.apply(z, t[f"{node.name}.bias"])
        norm = ("running_mean", "running_var", "weight", "bias")
        mean, var, gamma, beta = (t[f"{node.name}.bn.{name}"] for name in norm)
        empty = (weight.flatten(1) == 0).all(1)  # such a channel's output is 0
        center = torch.where(empty, 0, mean)
        z = Stored.apply(z, -center)
        shifted = mean - center
        y = F.batch_norm(z, shifted, var, gamma, beta, training, 0.1, BATCH_NORM_EPSILON)
        with torch.no_grad():
            mean.copy_(shifted + center * 0.9 + center * 0.1)
        return y


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("activation", list(Activation))
def test_gradients_are_those_of_autograd_with_rounded_outputs(name, activation, lib64):
    shape, classes, samples = NETWORKS[name]
    graph = activated(build(name, shape, classes), activation, Activation.RELU)
    model = random_model(graph, 0.4)
    x, y = batch_of(graph, samples)
    options = EngineOptions(samples, activation_bits=16, threads=2)
    trainer = Executor(graph, model, options, lib=lib64)
    assert narrow_layers(trainer.layout)
    assert_agrees(trainer, Rounded(graph, model), x, y, 1e-9)


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(graph=trained_graphs(), samples=st.integers(1, 37), choice=st.integers(0, 2))
def test_any_layer_agrees(lib64, graph, samples, choice):
    model = random_model(graph, 0.5)
    x, y = batch_of(graph, samples)
    sets = lib64.instruction_sets
    trainer = Executor(
        graph, model, EngineOptions(samples, activation_bits=16), lib=lib64,
        instruction_set=sets[choice % len(sets)],
    )  # fmt: skip
    assert_agrees(trainer, Rounded(graph, model), x, y, 1e-9)


@pytest.mark.parametrize("name", load().instruction_sets if available() else ())
def test_float32_kernels_round_alike(name):
    graph = build("resnet8", (1, 16, 16), 4)
    model = random_model(graph, 0.1)
    x, y = batch_of(graph, 40)
    trainer = Executor(graph, model, EngineOptions(40, activation_bits=16), instruction_set=name)
    loss, (expected_loss, expected) = trainer.backward(x, y), Rounded(graph, model).gradients(x, y)
    assert loss == pytest.approx(expected_loss, rel=1e-3)
    found, masks = trainer.gradients(), masks_by_parameter(model)
    for key, grad in expected.items():  # a sum that rounds the other way now and then
        held = grad.reshape(-1) if key not in masks else grad.reshape(-1)[masks[key].indices]
        assert np.linalg.norm(found[key] - held) <= 0.05 * np.linalg.norm(held), key


@pytest.mark.parametrize(
    "options", [{"threads": 2}, {"threads": 3}, {"crossover": 0.0}, {"recompute": True}]
)
def test_no_bit_depends_on_how_it_is_computed(options):
    graph = build("resnet8", (1, 16, 16), 4)
    model = random_model(graph, 0.4)
    x, y = batch_of(graph, 21)
    if options.pop("recompute", False):
        options["recompute"] = tuple(layer.name for layer in graph.layers)
    plain = Executor(graph, model, EngineOptions(21, activation_bits=16, crossover=2.0))
    other = Executor(
        graph, model, EngineOptions(21, activation_bits=16, **{"crossover": 2.0, **options})
    )
    assert other.backward(x, y) == plain.backward(x, y)
    for key, grad in plain.gradients().items():
        np.testing.assert_array_equal(other.gradients()[key], grad, err_msg=key)


def test_growth_sees_the_gradients_of_the_rounded_step(lib64):
    graph = build("resnet8", (1, 11, 13), 4)
    model = random_model(graph, 0.1)
    x, y = batch_of(graph, 21)
    layer = graph.prunable_layers[3]
    trainer = Executor(graph, model, EngineOptions(21, activation_bits=16), lib=lib64)
    positions, found = trainer.growth(x, y, {layer.name: 9})[layer.name]
    _, dense = Rounded(graph, model).gradients(x, y)
    grads = dense[f"{layer.name}.weight"].reshape(-1)
    np.testing.assert_allclose(found, grads[positions], rtol=1e-6)
    absent = np.setdiff1d(np.arange(grads.size), model.masks[layer.name].indices)
    best = absent[np.argsort(-np.abs(grads[absent]), kind="stable")[:9]]
    assert set(positions) == set(best)


def test_evaluation_keeps_32_bits():
    graph = build("resnet8", (1, 16, 16), 4)
    model = random_model(graph, 0.1)
    x, y = batch_of(graph, 21)
    found = [
        Executor(graph, model, EngineOptions(21, activation_bits=bits)).evaluate(x, y)
        for bits in (16, 32)
    ]
    assert found[0] == found[1]


def test_ranges_need_no_more_than_was_planned():
    graph = build("smartwatch_cnn", (6, 1, 128), 7)  # whose training step is smaller in 16 bits
    model = random_model(graph, 0.1)
    x, _ = batch_of(graph, 32)
    found = [
        Executor(graph, model, EngineOptions(32, activation_bits=bits)).ranges([x])
        for bits in (16, 32)
    ]
    assert found[0] == found[1]


def test_a_step_needs_little_more_than_half():
    graph = build("resnet8", (1, 28, 28), 10)
    masks = random_model(graph, 0.05).masks
    wide, narrow = (
        plan(graph, masks, EngineOptions(64, activation_bits=bits)) for bits in (32, 16)
    )
    layers = narrow_layers(narrow.layout)
    values = sum(int(np.prod(graph.shapes[name])) for name in layers)
    assert wide.saved_bytes - narrow.saved_bytes == pytest.approx(64 * 2 * values, abs=64 * 16)
    assert narrow.arena_bytes < 0.55 * wide.arena_bytes


def test_steps_of_16_bits_learn():
    graph = build("smartwatch_cnn", (6, 1, 50), 4)
    model = random_model(graph, 0.3)
    x, y = batch_of(graph, 32)
    trainer = Executor(graph, model, EngineOptions(32, activation_bits=16), lr=0.1)
    losses = [trainer.step(x, y) for _ in range(60)]
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"activation_bits": 8}, "must be 32 or 16, not 8"),
        ({"activation_bits": 16, "activation_density": 0.5}, "leave activation_bits at 32"),
    ],
)
def test_what_cannot_be_is_refused(options, message):
    graph = build("resnet8", (1, 16, 16), 4)
    with pytest.raises(EngineError, match=message):
        plan(graph, random_model(graph, 0.1).masks, EngineOptions(8, **options))


def test_settings_reach_the_engine_or_are_refused(tiny_config):
    engine = engine_of(tiny_config("training.activation_bits=16", "pruning.density=0.9"))
    assert "16 bits" in engine.title
    pruned = ("training.activation_bits=16", "pruning.method=fedmef")
    with pytest.raises(FedTinyError, match=r"activation_bits = 32, or pruning\.activation_density"):
        engine_of(tiny_config(*pruned))
    with pytest.raises(FedTinyError, match=r"set training\.engine = 'sparse'"):
        engine_of(tiny_config("training.activation_bits=16", "training.engine=torch"))
