"""Frozen parameters: gradients of the others, and how little is kept for them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from builders import activated, batch_of, masks_by_parameter, random_model
from engine_oracle import Oracle
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_engine_memory import run_guarded

from fedtiny.engine import EngineError, EngineOptions, Executor, available, plan
from fedtiny.engine.options import Optimizer
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Add, Conv, Linear, Pool, Upsample
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.torch_module import GraphModule
from fedtiny.training.sparse.meter import measure_arrays

torch.set_num_threads(1)
pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")


def without_norms(graph: Graph, *but: str) -> Graph:
    """The graph as after folding; the layers ``but`` keep their batch norms."""
    nodes = [
        replace(node, batch_norm=node.name in but) if isinstance(node, Conv) else node
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


SIDE = Graph(
    "side",
    (3, 9, 10),
    (
        Conv("stem", INPUT, 3, 8, (3, 3), padding=(1, 1), batch_norm=False, prunable=False),
        Pool("small", "stem", "avg", (2, 2)),
        Conv("narrow", "small", 8, 8, (3, 3), padding=(1, 1), groups=4, prunable=False),
        Conv("wide", "narrow", 8, 8, (1, 1), activation=Activation.NONE, prunable=False),
        Upsample("large", "wide", (9, 10)),
        Conv("body", "stem", 8, 8, (3, 3), padding=(1, 1), batch_norm=False),
        Add("sum", "body", "large", Activation.NONE),
        Pool("most", "sum", "max", (3, 3), (2, 2)),
        Conv("tail", "most", 8, 6, (3, 3), batch_norm=False),
        Pool("pool", "tail"),
        Linear("classifier", "pool", 6, 4, prunable=False),
    ),
)
"""A frozen backbone with a grouped, batch-normed side branch that is pooled and upsampled."""

GRAPHS = {
    "resnet8": (without_norms(build("resnet8", (1, 11, 13), 5)), ()),
    "smartwatch_cnn": (without_norms(build("smartwatch_cnn", (6, 1, 40), 7), "conv3"), ("conv3",)),
    "ds_cnn": (without_norms(build("ds_cnn", (1, 20, 10), 4)), ()),
    "side": (SIDE, ("narrow", "wide")),
}
"""By name: a graph, and its layers with batch norm, which must be trained."""


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data(), name=st.sampled_from(sorted(GRAPHS)), samples=st.sampled_from([3, 7, 17]))
def test_any_trained_set_matches_autograd(lib64, data, name, samples):
    graph, normed = GRAPHS[name]
    activation = data.draw(
        st.sampled_from([Activation.RELU, Activation.RELU6, Activation.HARD_SWISH])
    )
    graph = activated(graph, activation)
    names = [row.name for row in graph.parameters if row.layer not in normed]
    chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, max_size=6, unique=True))
    chosen += [row.name for row in graph.parameters if row.layer in normed]
    model = random_model(graph, data.draw(st.sampled_from([0.1, 0.5, 1.0])))
    x, y = batch_of(graph, samples)
    options = EngineOptions(samples, trained=tuple(chosen))
    executor = Executor(graph, model, options, lib=lib64)
    loss = executor.backward(x, y)
    expected_loss, expected = Oracle(graph, model).gradients(x, y)
    assert loss == pytest.approx(expected_loss, rel=1e-10)
    assert_equal(executor, model, expected, chosen, 1e-10)


def assert_equal(executor, model, expected, chosen, tolerance):
    """The chosen parameters' gradients and no others, relative to the largest of all."""
    found, masks = executor.gradients(), masks_by_parameter(model)
    assert found.keys() == set(chosen)
    scale = max(np.abs(grad).max() for grad in expected.values())
    for key, grad in found.items():
        held = expected[key].reshape(-1)
        held = held[masks[key].indices] if key in masks else held
        np.testing.assert_allclose(grad, held, rtol=0, atol=tolerance * scale, err_msg=key)


@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_float32_gradients_and_liveness(name):
    """Every buffer is NaN once it is dead, and gradients stay what they are."""
    graph, normed = GRAPHS[name]
    first = graph.layers[0].name
    chosen = [row.name for row in graph.parameters if row.layer in {*normed, "classifier"}]
    chosen.append(ParameterKind.BIAS.of(first))
    model = random_model(graph, 0.3)
    x, y = batch_of(graph, 6)
    options = EngineOptions(6, trained=tuple(chosen))
    executor, guarded = (Executor(graph, model, options) for _ in range(2))
    executor.backward(x, y)
    assert_equal(executor, model, Oracle(graph, model).gradients(x, y)[1], chosen, 1e-4)
    run_guarded(guarded, x, y)
    for key, grad in guarded.gradients().items():
        np.testing.assert_array_equal(grad, executor.gradients()[key], err_msg=key)


def saved_by_torch(graph: Graph, samples: int, trained: set[str] | None) -> int:
    """Bytes of activations that autograd saves, counted by its own hooks, each storage once."""
    module = GraphModule(graph).eval()
    parameters = {id(p) for p in module.parameters()}
    for row in graph.parameters:
        module.tensor(row.name).requires_grad_(trained is None or row.name in trained)
    held: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if id(tensor) not in parameters:
            storage = tensor.untyped_storage()
            held[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        logits = module(torch.randn(samples, *graph.input_shape))
    assert logits.requires_grad
    return sum(held.values())


@pytest.mark.parametrize("name", ["resnet8", "smartwatch_cnn"])
def test_freezing_saves_nothing_in_torch_and_nearly_all_here(name):
    """The stem's bias trained, so that a gradient passes every layer of the frozen network."""
    shape = (1, 28, 28) if name == "resnet8" else (6, 1, 128)
    whole = build(name, shape, 7)
    folded = without_norms(whole)
    first = ParameterKind.BIAS.of(folded.layers[0].name)
    normed_first = ParameterKind.BN_SHIFT.of(folded.layers[0].name)
    assert saved_by_torch(whole, 16, {normed_first}) > 0.9 * saved_by_torch(whole, 16, None)
    masks = random_model(whole, 0.05).masks
    full = plan(whole, masks, EngineOptions(16))
    frozen = plan(folded, masks, EngineOptions(16, trained=(first,)))
    assert frozen.saved_bytes <= full.saved_bytes / 4
    assert frozen.arena_bytes < full.arena_bytes
    maps = sum(np.prod(folded.shapes[n.name]) for n in folded.nodes if n.activation.value == "relu")
    assert frozen.saved_bytes <= 16 * maps / 8 + 64 * len(folded.nodes) + 64  # a bit each


@pytest.mark.parametrize("optimizer", list(Optimizer))
def test_the_plan_is_what_is_allocated(optimizer):
    graph, normed = GRAPHS["side"]
    chosen = tuple(row.name for row in graph.parameters if row.layer in normed)
    options = EngineOptions(8, trained=chosen, optimizer=optimizer)
    model = random_model(graph, 0.3)
    x, y = batch_of(graph, 8)
    measured = measure_arrays(lambda: Executor(graph, model, options), x, y)
    planned = plan(graph, model.masks, options)
    batch = x.nbytes + y.nbytes
    assert measured == planned.arena_bytes + batch


@pytest.mark.parametrize("rates", [{}, {"classifier": 0.1}])
def test_adam_follows_torch_and_frozen_parameters_stay(lib64, rates):
    graph, normed = GRAPHS["side"]
    chosen = [row.name for row in graph.parameters if row.layer in {*normed, "classifier"}]
    options = EngineOptions(8, trained=tuple(chosen), optimizer=Optimizer.ADAM)
    model = random_model(graph, 0.3)
    executor = Executor(graph, model, options, lr=0.01, weight_decay=1e-3, rates=rates, lib=lib64)
    oracle = Oracle(graph, model)
    groups = [
        {"params": [oracle.tensors[n]], "lr": 0.01 * rates.get(n.split(".")[0], 1.0)}
        for n in chosen
    ]
    adam = torch.optim.Adam(groups, weight_decay=1e-3)
    for step in range(3):
        x, y = batch_of(graph, 8, step)
        loss = oracle.loss(x, y)
        adam.zero_grad()
        loss.backward()
        adam.step()
        assert executor.step(x, y) == pytest.approx(loss.item(), rel=1e-8)
    after = executor.model()
    for name in chosen:
        expected = oracle.tensors[name].detach().numpy()
        np.testing.assert_allclose(after.dense[name], expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(after.weights["body"].values, model.weights["body"].values)
    np.testing.assert_array_equal(after.dense["stem.weight"], model.dense["stem.weight"])


def test_what_cannot_be_frozen_is_said():
    whole = build("smartwatch_cnn", (6, 1, 40), 7)
    masks = random_model(whole, 0.1).masks
    head = ("classifier.weight",)
    with pytest.raises(EngineError, match="'conv1' is not to be trained but has a batch norm"):
        plan(whole, masks, EngineOptions(8, trained=head))
    folded = without_norms(whole)
    with pytest.raises(EngineError, match="no parameter is called 'conv9"):
        plan(folded, masks, EngineOptions(8, trained=("conv9.weight",)))
    with pytest.raises(EngineError, match="nothing is to be trained"):
        plan(folded, masks, EngineOptions(8, trained=()))
    with pytest.raises(EngineError, match="leave recompute empty"):
        plan(folded, masks, EngineOptions(8, trained=head, recompute=("conv1",)))
    with pytest.raises(EngineError, match="freeze none"):
        plan(folded, masks, EngineOptions(8, trained=head), {"conv2": 3})
