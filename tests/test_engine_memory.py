"""The training plan's memory: what it predicts is allocated, and no buffer tramples another."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from builders import activated, batch_of, random_model

from fedtiny.engine import EngineOptions, Executor, available, plan
from fedtiny.engine.abi import ALIGNMENT_BYTES, Op
from fedtiny.engine.layout import Layout
from fedtiny.engine.plan import Plan, Which
from fedtiny.engine.state import address, aligned_bytes
from fedtiny.memory.arena import aligned
from fedtiny.memory.ledger import LedgerLine
from fedtiny.models import build
from fedtiny.models.ops import Activation

needs_engine = pytest.mark.skipif(not available(), reason="the engine is not compiled here")


@needs_engine
@pytest.mark.parametrize("saving", ["nothing", "recompute", "prune", "16 bits"])
@pytest.mark.parametrize(
    ("name", "activation"),
    [
        *((name, Activation.RELU) for name in ("resnet8", "resnet18", "vgg11", "ds_cnn")),
        ("resnet8", Activation.RELU6),
        ("resnet8", Activation.HARD_SWISH),
    ],
)
def test_programs_touch_only_their_buffers_while_they_live(name, activation, saving):
    """Run op by op in separate, guarded buffers filled with NaN: same gradients, guards whole."""
    shape = (1, 49, 10) if name == "ds_cnn" else (1, 32, 32)
    graph = activated(build(name, shape, 4), activation)
    model = random_model(graph, 0.1)
    options = {
        "nothing": {},
        "recompute": {"recompute": tuple(layer.name for layer in graph.layers)},
        "prune": {"activation_density": 0.4},
        "16 bits": {"activation_bits": 16},
    }[saving]
    x, y = batch_of(graph, 5)
    trainer = Executor(graph, model, EngineOptions(5, **options))
    trainer.backward(x, y)
    expected = trainer.gradients()
    guarded = Executor(graph, model, EngineOptions(5, **options))
    run_guarded(guarded, x, y)
    for key, grad in guarded.gradients().items():
        np.testing.assert_array_equal(grad, expected[key], err_msg=key)


def run_guarded(trainer: Executor, x: np.ndarray, y: np.ndarray) -> None:
    program = trainer.plan.programs[Which.TRAIN]
    buffers = {id(b): b for step in program.steps for b in step.buffers()}.values()
    guard, offset = 4096, 4096
    for buffer in buffers:
        buffer.offset = offset
        offset += aligned(buffer.nbytes, ALIGNMENT_BYTES) + guard
    memory = aligned_bytes(offset)
    memory.view(np.float32)[:] = np.nan
    outside = np.ones(offset, bool)
    for buffer in buffers:
        outside[buffer.offset : buffer.offset + buffer.nbytes] = False
    before = memory[outside].copy()
    ops = program.lower(address(memory), trainer.state.layers)
    for index, op in enumerate(ops):
        one = (Op * 1)(op)
        trainer.execute(one, x, y, training=True, grad_scale=1 / len(x), bn_momentum=0.1)
        np.testing.assert_array_equal(memory[outside], before, err_msg=str(program.steps[index]))
        for buffer in buffers:  # what is dead must not be read again
            if buffer.last == index:
                dead = memory[buffer.offset : buffer.offset + buffer.nbytes]
                dead.view(np.float32)[:] = np.nan


@needs_engine
def test_the_arena_is_what_is_allocated():
    graph = build("resnet8", (1, 28, 28), 10)
    model = random_model(graph, 0.05)
    predicted = plan(graph, model.masks, EngineOptions(64)).arena_bytes
    tracemalloc.start()
    trainer = Executor(graph, model, EngineOptions(64))
    allocated = sum(
        trace.size
        for trace in tracemalloc.take_snapshot()
        .filter_traces([tracemalloc.DomainFilter(True, np.lib.tracemalloc_domain)])
        .traces
    )
    tracemalloc.stop()
    assert trainer.arena_bytes == predicted == sum(trainer.arena_lines.values())
    assert set(trainer.arena_lines) == set(LedgerLine)
    assert predicted == allocated
    quotas = {"stage3.conv2": 100}
    trainer.growth(np.zeros((4, 1, 28, 28), "f4"), np.zeros(4, int), quotas)
    assert (
        trainer.arena_bytes
        == plan(graph, model.masks, EngineOptions(64), quotas=quotas).arena_bytes
    )


@needs_engine
def test_growth_never_holds_two_workspaces():
    graph = build("resnet8", (1, 28, 28), 10)
    x, y = np.zeros((64, 1, 28, 28), np.float32), np.zeros(64, np.int64)
    tracemalloc.start()
    trainer = Executor(graph, random_model(graph, 0.05), EngineOptions(64))
    trainer.step(x, y)
    tracemalloc.reset_peak()
    trainer.growth(x, y, {"stage3.conv2": 100})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1.05 * trainer.arena_bytes


def test_growth_buffers_are_counted_where_they_are_the_peak():
    graph = build("vgg11", (3, 32, 32), 10)
    masks = random_model(graph, 0.01).masks
    lines = plan(graph, masks, EngineOptions(1), quotas={"stage5.conv2": 500_000}).lines
    assert lines["top_k"] >= 8 * 500_000


@pytest.mark.parametrize(
    ("name", "shape", "micro_batch", "density", "most"),
    [
        # PyTorch's dense step: 34.6 MB for ResNet-8 at batch 64, 205 MB for ResNet-18 at batch 16
        ("resnet8", (1, 28, 28), 64, 0.05, 0.6 * 34.6e6),
        ("resnet18", (3, 32, 32), 16, 0.05, 0.4 * 205e6),
        ("resnet18", (3, 32, 32), 16, 0.01, 205e6 / 3),
        ("resnet18", (3, 32, 32), 8, 0.01, 48e6),
        ("smartwatch_cnn", (6, 1, 128), 8, 0.05, 2**20),
    ],
)
def test_plans_fit_the_devices_they_were_made_for(name, shape, micro_batch, density, most):
    graph = build(name, shape, 10)
    masks = random_model(graph, density).masks
    kept = plan(graph, masks, EngineOptions(micro_batch)).arena_bytes
    assert kept <= most


def test_recomputing_every_other_layer_saves_memory():
    graph = build("resnet18", (3, 32, 32), 10)
    masks = random_model(graph, 0.01).masks
    dropped = tuple(layer.name for layer in graph.layers if layer.name.endswith("conv1"))
    kept = plan(graph, masks, EngineOptions(16))
    less = plan(graph, masks, EngineOptions(16, recompute=dropped))
    assert less.lines["saved_activations"] < kept.lines["saved_activations"]
    assert less.arena_bytes < kept.arena_bytes


def test_a_plan_needs_neither_library_nor_values():
    graph = build("vgg11", (3, 32, 32), 10)
    masks = random_model(graph, 0.02).masks
    lines = Plan(Layout(graph, masks, EngineOptions(4))).lines
    held = sum(mask.nnz for mask in masks.values())
    assert lines["gradients"] >= 4 * held
    assert lines["indices"] >= 4 * 3 * held
    assert lines["batch"] == 4 * 4 * 3 * 32 * 32
