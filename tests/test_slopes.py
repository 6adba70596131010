"""Gradients that methods bend: against PyTorch's own, and the same on both engines."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from builders import batch_of, random_model

from fedtiny.config import parse
from fedtiny.memory.step import StepPlan
from fedtiny.methods.method import Adjusted, Memory, RoundEnd
from fedtiny.models import build
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.slopes import PowerPropagation, Slopes, ThresholdSlope, smallest_weight
from fedtiny.sparse.tensor import SparseTensor
from fedtiny.tiers.rings import Rings
from fedtiny.training.masked.trainer import TorchTrainer
from fedtiny.training.sparse.engine import Sparse
from fedtiny.training.trainer import SgdConfig

GRAPH = build("smartwatch_cnn@8", (6, 1, 128), 7)
SLOPES = (PowerPropagation(1.25), ThresholdSlope(0.05))


def test_a_step_is_one_of_gradient_descent_in_theta() -> None:
    draw = np.random.default_rng(0)
    theta = torch.tensor(draw.normal(size=50), dtype=torch.float64, requires_grad=True)
    target = torch.tensor(draw.normal(size=50))
    weights = torch.sign(theta) * theta.abs() ** 1.25
    loss = ((weights - target) ** 4).sum()
    loss.backward()
    stepped = theta.detach() - 0.01 * theta.grad
    wanted = torch.sign(stepped) * stepped.abs() ** 1.25
    values = weights.detach().numpy()
    gradients = 4 * (values - target.numpy()) ** 3
    PowerPropagation(1.25).bend(values, gradients, 0.01)
    assert values - 0.01 * gradients == pytest.approx(wanted.numpy(), rel=1e-9)


def test_weights_at_zero_stay_there_and_a_power_of_one_changes_nothing() -> None:
    values, gradients = np.array([0.0, -0.3]), np.array([1.0, 1.0])
    PowerPropagation(1.0).bend(values, gradients, 0.1)
    assert gradients == pytest.approx([1.0, 1.0])
    PowerPropagation(1.25).bend(values, gradients, 0.1)
    assert gradients[0] == 0


class _Mask(torch.autograd.Function):
    """1{|θ| ≥ τ} with the slope 2τ / (|θ| + τ)²."""

    @staticmethod
    def forward(ctx, size, threshold):
        ctx.save_for_backward(size, threshold)
        return (size >= threshold).to(size.dtype)

    @staticmethod
    def backward(ctx, gradient):
        size, threshold = ctx.saved_tensors
        return gradient * 2 * threshold / (size + threshold) ** 2, None


def test_the_gradient_goes_through_the_threshold() -> None:
    draw = np.random.default_rng(1)
    theta = torch.tensor(draw.uniform(0.2, 2, 40) * draw.choice([-1, 1], 40), requires_grad=True)
    masked = theta * _Mask.apply(theta.abs(), torch.tensor(0.2, dtype=torch.float64))
    slope = torch.tensor(draw.normal(size=40))
    (masked * slope).sum().backward()
    gradients = slope.numpy().copy()
    ThresholdSlope(0.2).bend(theta.detach().numpy(), gradients, 1.0)
    assert gradients == pytest.approx(theta.grad.numpy(), rel=1e-9)


@pytest.mark.parametrize("slopes", SLOPES, ids=lambda one: type(one).__name__)
def test_both_engines_take_the_same_steps(slopes: Slopes) -> None:
    model = random_model(GRAPH, 0.3)
    x, y = batch_of(GRAPH, 8)
    plain, bent = (SgdConfig(0.05, 0.9, 1e-3, slopes=one) for one in (None, slopes))
    engine, oracle, other = (
        Sparse().trainer(GRAPH, model, bent, StepPlan(8)),
        TorchTrainer(GRAPH, model, bent),
        TorchTrainer(GRAPH, model, plain),
    )
    for _ in range(3):
        for trainer in (engine, oracle, other):
            trainer.step(x, y)
    moved = 0.0
    for name, weight in oracle.model().weights.items():
        assert engine.model().weights[name].values == pytest.approx(weight.values, abs=2e-4)
        moved += float(np.abs(weight.values - other.model().weights[name].values).max())
    assert moved > 1e-3


def test_the_threshold_is_the_smallest_weight_that_is_kept() -> None:
    model = random_model(GRAPH, 0.3)
    everything = np.concatenate([weight.values for weight in model.weights.values()])
    assert smallest_weight(model) == np.abs(everything).min()


def test_fiarse_puts_a_weight_that_shrank_aside_and_brings_it_back_as_it_was() -> None:
    method = parse({"pruning": {"method": "fiarse", "density": 0.3}}).method
    kept = random_model(GRAPH, 0.3)
    waiting = 1e-3
    aside = np.float32(waiting)
    memory = {name: np.full(w.shape, waiting, np.float32) for name, w in kept.weights.items()}
    name = next(iter(kept.weights))

    def after(model: SparseModel, memory: Memory) -> Adjusted:
        rings = Rings(GRAPH, (1.0,), 0.0)
        return method.adjust(RoundEnd(1, GRAPH, model, [], [], rings, memory))

    def with_first(model: SparseModel, value: float) -> SparseModel:
        weight = model.weights[name]
        values = weight.values.copy()
        values[0] = value
        changed = {**model.weights, name: SparseTensor(weight.mask, values)}
        return SparseModel(changed, model.dense)

    big = SparseModel(
        {n: SparseTensor(w.mask, w.values + np.sign(w.values)) for n, w in kept.weights.items()},
        kept.dense,
    )
    same = after(big, memory)
    for n, weight in big.weights.items():
        assert np.array_equal(same.model.weights[n].mask.indices, weight.mask.indices)
    position = big.weights[name].mask.indices[0]
    left = after(with_first(big, waiting / 2), same.memory)
    assert left.model.nnz == big.nnz
    assert position not in left.model.weights[name].mask.indices
    came = {n: int(np.sum(w.values == aside)) for n, w in left.model.weights.items()}
    assert sum(came.values()) == 1
    assert left.memory[name].reshape(-1)[position] == np.float32(waiting / 2)
    newcomer = next(n for n, count in came.items() if count)
    weight = left.model.weights[newcomer]
    shrunk = np.where(weight.values == aside, waiting / 4, weight.values)
    weights = {**left.model.weights, newcomer: SparseTensor(weight.mask, shrunk.astype("f4"))}
    memory = {n: np.where(w == aside, 0, w) for n, w in left.memory.items()}
    back = after(SparseModel(weights, left.model.dense), memory).model.weights[name]
    assert back.values[np.searchsorted(back.mask.indices, position)] == np.float32(waiting / 2)
