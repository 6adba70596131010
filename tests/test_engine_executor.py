"""What the sparse trainer promises besides its gradients."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from builders import batch_of, random_model

from fedtiny.engine import EngineError, EngineOptions, Executor, available, plan
from fedtiny.engine.abi import Kind
from fedtiny.engine.plan import Which
from fedtiny.models import build
from fedtiny.models.sparse_model import SparseModel
from fedtiny.models.torch_module import GraphModule

pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")

GRAPH = build("resnet8", (1, 12, 12), 5)


def arrays(model: SparseModel) -> dict[str, np.ndarray]:
    return {**{n: w.values for n, w in model.weights.items()}, **model.dense}


def assert_same(first: SparseModel, second: SparseModel) -> None:
    for name, array in arrays(first).items():
        np.testing.assert_array_equal(array, arrays(second)[name], err_msg=name)


@pytest.mark.parametrize("samples", [8, 13, 40])
def test_evaluation_and_logits_use_the_running_statistics(samples):
    model = random_model(GRAPH, 0.15)
    trainer = Executor(GRAPH, model, EngineOptions(16))
    oracle = GraphModule(GRAPH)
    oracle.load(model.to_dense())
    oracle.eval()
    x, y = batch_of(GRAPH, samples)
    with torch.no_grad():
        logits = oracle(torch.from_numpy(x))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction="sum")
    found_loss, correct = trainer.evaluate(x, y)
    assert found_loss == pytest.approx(loss.item(), rel=1e-4)
    assert correct == int((logits.argmax(1).numpy() == y).sum())
    np.testing.assert_allclose(trainer.logits(x), logits.numpy(), rtol=1e-3, atol=1e-4)
    assert_same(trainer.model(), model)


def test_batch_norm_moments_are_cumulative_averages_over_micro_batches():
    model = random_model(GRAPH, 0.15)
    trainer = Executor(GRAPH, model, EngineOptions(8))
    oracle = GraphModule(GRAPH)
    oracle.load(model.to_dense())
    oracle.momentum = None
    oracle.reset_statistics()
    oracle.train()
    x, _ = batch_of(GRAPH, 21)
    with torch.no_grad():
        for start in (0, 8, 16):
            oracle(torch.from_numpy(x[start : start + 8]))
    found, expected = trainer.batch_norm_moments([x]), oracle.state()
    assert set(found) == {row.name for row in GRAPH.statistics}
    for name, values in found.items():
        np.testing.assert_allclose(values, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)
    assert_same(trainer.model(), model)


def test_ranges_are_the_extremes_of_every_tensor():
    model = random_model(GRAPH, 0.15)
    oracle = GraphModule(GRAPH)
    oracle.load(model.to_dense())
    oracle.eval()
    x, _ = batch_of(GRAPH, 21)
    expected = {"input": (float(x.min()), float(x.max()))}

    def observe(name: str, value: torch.Tensor) -> None:
        expected[name] = (float(value.min()), float(value.max()))

    with torch.no_grad():
        oracle(torch.from_numpy(x), observe)
    found = Executor(GRAPH, model, EngineOptions(16)).ranges([x])
    assert set(found) == set(expected)
    for name, pair in expected.items():
        assert found[name] == pytest.approx(pair, rel=1e-3, abs=1e-4), name


@pytest.mark.parametrize(("samples", "micro_batch"), [(16, 16), (11, 16), (64, 64), (39, 64)])
def test_results_do_not_depend_on_threads_tiles_or_recomputation(samples, micro_batch):
    x, y = batch_of(GRAPH, samples)
    results = []
    for options in (
        {},
        {"threads": 2},
        {"threads": 3},
        {"recompute": tuple(layer.name for layer in GRAPH.layers)},
        {"threads": 2, "recompute": ("stem", "stage2.conv1")},
    ):
        trainer = Executor(GRAPH, random_model(GRAPH, 0.15), EngineOptions(micro_batch, **options))
        for _ in range(3):
            trainer.step(x, y)
        growth = trainer.growth(x, y, {"stage2.conv2": 9})
        results.append((trainer.model(), growth["stage2.conv2"]))
    for model, (indices, values) in results[1:]:
        assert_same(model, results[0][0])
        np.testing.assert_array_equal(indices, results[0][1][0])
        np.testing.assert_array_equal(values, results[0][1][1])


@pytest.mark.parametrize(
    ("options", "own"),
    [
        ({"micro_batch": 64, "threads": 2}, True),
        ({"micro_batch": 64, "threads": 1}, False),
        ({"micro_batch": 16, "threads": 2}, False),  # one block, whose channels they share
        ({"micro_batch": 64, "threads": 2, "activation_density": 0.5}, False),
    ],
)
def test_threads_have_tiles_of_their_own_where_each_takes_blocks(options, own):
    model = random_model(GRAPH, 0.15)
    several = plan(GRAPH, model.masks, EngineOptions(**options))
    alone = plan(GRAPH, model.masks, EngineOptions(**{**options, "threads": 1}))
    pairs = zip(several.programs[Which.TRAIN].steps, alone.programs[Which.TRAIN].steps, strict=True)
    for step, single in pairs:
        if step.kind in (Kind.CONV, Kind.CONV_GRAD) and step.node != GRAPH.logits:
            assert step.scratch.nbytes == (2 if own else 1) * single.scratch.nbytes
            assert (step.numbers.get("tile_bytes", 0) > 0) == own


def test_masks_never_change_and_growth_leaves_the_model_alone():
    model = random_model(GRAPH, 0.15)
    trainer = Executor(GRAPH, model, EngineOptions(8))
    x, y = batch_of(GRAPH, 8)
    trainer.step(x, y)
    before = trainer.model()
    trainer.growth(x, y, {"stage1.conv1": 5, "stage3.conv2": 50})
    assert_same(trainer.model(), before)
    for name, mask in trainer.model().masks.items():
        np.testing.assert_array_equal(mask.indices, model.masks[name].indices)


def test_bad_batches_are_refused_before_anything_runs():
    trainer = Executor(GRAPH, random_model(GRAPH, 0.15), EngineOptions(8))
    x, y = batch_of(GRAPH, 8)
    with pytest.raises(EngineError, match="x must be"):
        trainer.step(x[:, :, :5], y)
    with pytest.raises(EngineError, match="classes within"):
        trainer.step(x, y + GRAPH.classes)
    with pytest.raises(EngineError, match="no layer 'nowhere'"):
        trainer.growth(x, y, {"nowhere": 1})
    with pytest.raises(EngineError, match="instruction set"):
        Executor(GRAPH, random_model(GRAPH, 0.15), EngineOptions(8), instruction_set="mmx")


def test_training_imports_no_torch():
    program = """
import sys, numpy as np
from fedtiny.engine import EngineOptions, Executor
from fedtiny.models import build
from fedtiny.models.sparse_model import from_state
from fedtiny.sparse.tensor import Mask
graph = build("smartwatch_cnn", (6, 1, 32), 3)
state = {row.name: np.ones(row.shape, np.float32) for row in graph.parameter_table}
masks = {l.name: Mask.full(l.weight_shape) for l in graph.prunable_layers}
trainer = Executor(graph, from_state(graph, state, masks), EngineOptions(4))
trainer.step(np.ones((4, 6, 1, 32), np.float32), np.zeros(4, np.int64))
assert "torch" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one core")
def test_as_many_threads_as_cores_have_a_core_each_and_the_caller_its_own_again():
    cores = os.sched_getaffinity(0)
    x, y = batch_of(GRAPH, 16)
    trainer = Executor(GRAPH, random_model(GRAPH, 0.1), EngineOptions(16, threads=len(cores)))
    trainer.step(x, y)
    assert os.sched_getaffinity(0) == cores
    threads = [int(path.name) for path in Path("/proc/self/task").iterdir()]
    settled = [core for core in map(os.sched_getaffinity, threads) if len(core) == 1]
    assert len(set().union(*settled)) >= len(cores) - 1, "one is the caller's"
