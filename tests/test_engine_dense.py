"""Dense kernels: which layers get them, and that nothing but time and memory depends on it."""

from __future__ import annotations

import numpy as np
import pytest
from builders import batch_of, fresh_state, full_masks, random_masks
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from fedtiny.bench.workload import SIZES
from fedtiny.engine import EngineOptions, Executor, available, layout
from fedtiny.engine.layout import Layout
from fedtiny.engine.library import load
from fedtiny.engine.options import CROSSOVER_DENSITY
from fedtiny.engine.plan import Plan, plan
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Conv, Linear, Node, Pool
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Mask

needs_engine = pytest.mark.skipif(not available(), reason="the engine is not compiled here")
NEVER = 2.0
"""A crossover no density reaches."""


def masks_of(graph: Graph, density: float) -> dict[str, Mask]:
    """Random masks; at low densities an output channel stays empty."""
    return random_masks(graph, density, empty_channels=int(density < 0.6))


def model_of(graph: Graph, density: float) -> SparseModel:
    return from_state(graph, fresh_state(graph), masks_of(graph, density))


ACTIVATIONS = st.sampled_from(Activation)


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Two convolutions of any shape between a stem and a classifier."""
    side, reach, pad = st.integers(1, 4), st.integers(1, 3), st.integers(0, 2)
    width = draw(st.integers(1, 9))
    nodes: list[Node] = [Conv("stem", INPUT, 2, width, (3, 3), padding=(1, 1), prunable=False)]
    shape = (width, draw(st.integers(1, 9)), draw(st.integers(2, 19)))
    graph_input = (2, *shape[1:])
    for name in ("one", "two"):
        conv = Conv(
            name, nodes[-1].name, shape[0], draw(st.integers(1, 13)), (draw(side), draw(side)),
            (draw(reach), draw(reach)), (draw(pad), draw(pad)), 1, draw(st.booleans()),
            draw(ACTIVATIONS), "b",
        )  # fmt: skip
        shape = conv.output_shape(shape)
        assume(min(shape) >= 1)
        nodes.append(conv)
    nodes += [Pool("pool", "two"), Linear("classifier", "pool", shape[0], 3, prunable=False)]
    return Graph("random", graph_input, tuple(nodes))


def train(
    graph: Graph,
    model: SparseModel,
    crossover: float,
    samples: int,
    instruction_set: str,
    **options: object,
) -> Executor:
    """Two steps and an evaluation on ``samples`` samples in micro-batches of at most 16."""
    x, y = batch_of(graph, samples)
    trainer = Executor(
        graph,
        model,
        EngineOptions(min(samples, 16), crossover=crossover, **options),
        weight_decay=1e-3,
        instruction_set=instruction_set,
    )
    for _ in range(2):
        trainer.step(x, y)
    trainer.results = (trainer.evaluate(x, y), trainer.logits(x).tobytes())
    return trainer


def assert_same_bytes(trainer: Executor, other: Executor) -> None:
    assert trainer.results == other.results
    for name in ("values", "grads", "momentum"):
        one, two = (t.state.arrays[name] for t in (trainer, other))
        assert one.tobytes() == two.tobytes(), name
    for name in [row.name for row in trainer.layout.graph.statistics]:
        assert trainer.state.arrays[name].tobytes() == other.state.arrays[name].tobytes(), name


@needs_engine
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(
    graph=graphs(),
    density=st.sampled_from([0.02, 0.4, 0.8, 1.0]),
    samples=st.integers(1, 35),
    recompute=st.booleans(),
    choice=st.integers(0, 2),
    threads=st.integers(1, 2),
    tile_bytes=st.sampled_from([1, 4096, 2**20]),
)
def test_dense_kernels_train_the_same_bytes(
    monkeypatch, graph, density, samples, recompute, choice, threads, tile_bytes
):
    monkeypatch.setattr(layout, "MIN_DENSE_WEIGHTS", 1)
    model, sets = model_of(graph, density), load().instruction_sets
    options = {
        "recompute": ("one", "two") if recompute else (),
        "instruction_set": sets[choice % len(sets)],
        "tile_bytes": tile_bytes,
    }
    dense = train(graph, model, 0.0, samples, threads=threads, **options)
    sparse = train(graph, model, NEVER, samples, **options)
    assert dense.layout.dense == {layer.name for layer in graph.layers}
    assert not sparse.layout.dense
    assert_same_bytes(dense, sparse)


@needs_engine
@pytest.mark.parametrize("name", ["resnet8", "smartwatch_cnn", "ds_cnn"])
@pytest.mark.parametrize("density", [0.7, 1.0])
def test_models_train_the_same_bytes(name, density):
    shape = {"resnet8": (1, 11, 13), "smartwatch_cnn": (6, 1, 50), "ds_cnn": (1, 49, 10)}[name]
    graph = build(name, shape, 5)
    model = model_of(graph, density)
    for instruction_set in load().instruction_sets:
        pair = [train(graph, model, c, 21, instruction_set) for c in (0.0, NEVER)]
        assert_same_bytes(*pair)


@needs_engine
def test_growth_finds_the_same_weights():
    graph = build("resnet8", (1, 9, 9), 4)
    model = model_of(graph, 0.7)
    x = rng(0, "x").standard_normal((12, *graph.input_shape)).astype(np.float32)
    quotas = {"stage2.conv1": 40, "stage3.shortcut": 7}
    trainers = [Executor(graph, model, EngineOptions(8, crossover=c)) for c in (0.0, NEVER)]
    grown = [trainer.growth(x, np.arange(12) % 4, quotas) for trainer in trainers]
    for name in quotas:
        for one, two in zip(grown[0][name], grown[1][name], strict=True):
            np.testing.assert_array_equal(one, two)


def test_the_plan_chooses_by_layer():
    graph = build("ds_cnn", (1, 49, 10), 12)
    masks = masks_of(graph, 0.1)
    full = graph.prunable_layers[1]
    masks[full.name] = Mask.full(full.weight_shape)
    chosen = plan(graph, masks, EngineOptions(8)).layout
    assert chosen.dense == {"stem", full.name, "classifier"}


def test_a_full_layer_holds_no_index_per_weight():
    graph = build("resnet18", (3, 32, 32), 10)
    lines = plan(graph, full_masks(graph), EngineOptions(8)).lines
    assert lines["indices"] < 0.02 * lines["weights"]


@pytest.mark.parametrize("name", ["resnet8", "resnet18", "vgg11", "smartwatch_cnn", "ds_cnn"])
@pytest.mark.parametrize("density", [CROSSOVER_DENSITY + 0.01, 1.0])
def test_dense_kernels_take_no_more_memory(name, density):
    shape, classes = SIZES[name]
    graph = build(name, shape, classes)
    masks = masks_of(graph, density)
    dense = Plan(Layout(graph, masks, EngineOptions(16)))
    sparse = Plan(Layout(graph, masks, EngineOptions(16, crossover=NEVER)))
    assert dense.layout.dense
    assert dense.arena_bytes <= sparse.arena_bytes
