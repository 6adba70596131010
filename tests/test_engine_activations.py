"""Activation pruning in the sparse engine, against autograd with the saved copies pruned."""

from __future__ import annotations

import numpy as np
import pytest
from builders import activated, batch_of, masks_by_parameter, random_model, widened
from engine_oracle import NETWORKS, Pruned
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_graphs import trained_graphs

from fedtiny.devices.budget import engine_of
from fedtiny.engine import EngineOptions, Executor, available, plan
from fedtiny.engine.activations import pruned_layers
from fedtiny.engine.layout import Layout
from fedtiny.engine.library import EngineError, load
from fedtiny.models import build
from fedtiny.models.ops import Activation, Pool
from fedtiny.training.masked.engine import MaskedDense
from fedtiny.training.sparse.engine import Sparse
from fedtiny.training.trainer import SgdConfig

pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")


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
    ("name", "density"), [*((name, 0.5) for name in NETWORKS), ("resnet8", 0.07)]
)
def test_gradients_are_those_of_autograd_with_pruned_copies(name, density, lib64):
    shape, classes, samples = NETWORKS[name]
    graph = build(name, shape, classes)
    model = random_model(graph, 0.4)
    x, y = batch_of(graph, samples)
    trainer = Executor(
        graph, model, EngineOptions(samples, activation_density=density, threads=2), lib=lib64
    )
    assert_agrees(trainer, Pruned(graph, model, density), x, y, 1e-9)


@pytest.mark.parametrize("name", ["resnet8", "smartwatch_cnn"])
@pytest.mark.parametrize("activation", [Activation.RELU6, Activation.HARD_SWISH])
def test_other_activations_agree_with_pruned_copies(name, activation, lib64):
    shape, classes, samples = NETWORKS[name]
    graph = activated(build(name, shape, classes), activation, Activation.RELU)
    model = widened(random_model(graph, 0.4))
    x, y = batch_of(graph, samples)
    options = EngineOptions(samples, activation_density=0.5)
    trainer = Executor(graph, model, options, lib=lib64)
    assert pruned_layers(trainer.layout)
    assert_agrees(trainer, Pruned(graph, model, 0.5), x, y, 1e-9)


def test_the_argument_of_a_hard_swish_is_kept_whole():
    graph = build("resnet8", (1, 9, 9), 4)
    masks = random_model(graph, 0.1).masks
    half = EngineOptions(4, activation_density=0.5)
    swish = activated(graph, Activation.HARD_SWISH, *[Activation.RELU6] * 100)
    pruned = pruned_layers(Layout(swish, masks, half))
    assert {conv.name for conv in graph.batch_norms} - set(pruned) == {graph.nodes[0].name}
    everywhere = activated(graph, Activation.HARD_SWISH)
    assert pruned_layers(Layout(everywhere, masks, half)) == ()


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    graph=trained_graphs(),
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
