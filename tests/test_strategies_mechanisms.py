"""What the rivals are made of, each against something independent of it."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
import torch
from array_samples import ArraySamples
from builders import SMALL, batch_of, fresh_state, full_masks, sparse_model
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.aggregation.sparse import keep_largest, sparse_mean
from fedtiny.config import RunConfig, parse
from fedtiny.devices.budget import memory_plan
from fedtiny.engine import EngineOptions, available
from fedtiny.errors import FedTinyError
from fedtiny.methods.feddst import Regrow
from fedtiny.methods.prunefl import Squares
from fedtiny.models import build
from fedtiny.models.narrow import narrow, value_bytes
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel
from fedtiny.models.torch_module import GraphModule
from fedtiny.pruning.extrusion import Extrusion, lowest
from fedtiny.pruning.masks import global_masks
from fedtiny.pruning.reconfigure import TimeCost, reconfigure
from fedtiny.pruning.synflow import _scores, synflow_masks
from fedtiny.pruning.thompson import Posterior
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Mask, SparseTensor
from fedtiny.training.local import LocalUpdate, train_locally
from fedtiny.training.masked.trainer import TorchTrainer
from fedtiny.training.sparse.meter import measure_training_step
from fedtiny.training.sparse.trainer import EngineTrainer
from fedtiny.training.trainer import SgdConfig, Trainer
from fedtiny.wire.packet import Packet, WireError
from fedtiny.wire.saliency import SaliencyScores
from fedtiny.wire.train import TrainResult

GRAPH = SMALL
STATE = fresh_state(GRAPH)
FULL = full_masks(GRAPH)

Make = Callable[[SparseModel, SgdConfig | None], Trainer]

ENGINES: list[object] = [
    pytest.param(lambda model, sgd: TorchTrainer(GRAPH, model, sgd, 12), id="torch"),
    pytest.param(
        lambda model, sgd: EngineTrainer(GRAPH, model, sgd, EngineOptions(12)),
        id="sparse",
        marks=pytest.mark.skipif(not available(), reason="engine not compiled"),
    ),
]


@pytest.mark.parametrize("make", ENGINES)
def test_gradients_are_autograds_and_leave_the_model_alone(make: Make) -> None:
    model, (x, y) = sparse_model(GRAPH, 0.3), batch_of(GRAPH, 12)
    trainer = make(model, None)
    found = trainer.gradients(x, y)
    module = GraphModule(GRAPH)
    module.load(model.to_dense())
    torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    for name, mask in model.masks.items():
        exact = module.tensor(f"{name}.weight").grad.numpy().ravel()[mask.indices]
        np.testing.assert_allclose(found[name], exact, rtol=1e-3, atol=1e-5)
    for name, value in trainer.model().to_dense().items():
        np.testing.assert_array_equal(value, model.to_dense()[name], err_msg=name)


def penalized_by_autograd(model: SparseModel, sgd: SgdConfig, steps: int) -> dict[str, np.ndarray]:
    """Plain SGD without momentum on loss + ½ μ ‖θ − θ_0‖² + λ ‖θ_low‖², terms written out."""
    x, y = batch_of(GRAPH, 12)
    module = GraphModule(GRAPH)
    module.load(model.to_dense())
    parameters = {row.name: module.tensor(row.name) for row in GRAPH.parameters}
    masks = {
        ParameterKind.WEIGHT.of(name): torch.from_numpy(mask.to_bool())
        for name, mask in model.masks.items()
    }
    start = {name: value.detach().clone() for name, value in parameters.items()}
    for step in range(steps):
        loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y))
        for name, value in parameters.items():
            loss = loss + sgd.proximal_mu / 2 * ((value - start[name]) ** 2).sum()
        rate = sgd.learning_rate
        if sgd.extrusion:
            low = torch.cat([
                parameters[f"{name}.weight"].flatten()[model.masks[name].indices[positions]]
                for name, positions in sgd.extrusion.low.items()
            ])  # fmt: skip
            loss = loss + sgd.extrusion.strength * (low**2).sum()
            rate = sgd.extrusion.rate(rate, low.detach().abs().sum().item(), step)
        module.zero_grad()
        loss.backward()
        with torch.no_grad():
            for name, value in parameters.items():
                held = masks.get(name, 1)
                value -= rate * value.grad * held
    return module.state()


@pytest.mark.parametrize("make", ENGINES)
@pytest.mark.parametrize("kind", ["proximal", "extrusion"])
def test_penalties_are_those_of_the_loss_written_out(make: Make, kind: str) -> None:
    model, (x, y) = sparse_model(GRAPH, 0.3), batch_of(GRAPH, 12)
    low = lowest(model, {"body": 10, "tail": 5})
    sgd = {
        "proximal": SgdConfig(0.1, 0.0, proximal_mu=2.0),
        "extrusion": SgdConfig(0.02, 0.0, extrusion=Extrusion(1.0, low, 0.1, steps=4)),
    }[kind]
    trainer = make(model, sgd)
    for _ in range(3):
        trainer.step(x, y)
    found = trainer.model().to_dense()
    for name, value in penalized_by_autograd(model, sgd, 3).items():
        np.testing.assert_allclose(found[name], value, rtol=2e-3, atol=2e-4, err_msg=name)
    plain = make(model, SgdConfig(sgd.learning_rate, 0.0))
    for _ in range(3):
        plain.step(x, y)
    assert not np.allclose(plain.model().to_dense()["body.weight"], found["body.weight"], atol=1e-3)


@pytest.mark.skipif(not available(), reason="engine not compiled")
def test_fedprox_memory_is_planned_as_it_is_held() -> None:
    model, (x, y) = sparse_model(GRAPH, 0.3), batch_of(GRAPH, 12)
    trained = [row.name for row in GRAPH.parameters]
    held = model.nnz + sum(model.dense[n].size for n in trained if n in model.dense)
    plain, proximal = (
        measure_training_step(GRAPH, model, SgdConfig(0.1, proximal_mu=mu), x, y, EngineOptions(12))
        for mu in (0.0, 1.0)
    )
    assert proximal - plain == 4 * held
    plans = [
        memory_plan(
            RunConfig.model_validate({"training": {"proximal_mu": mu, "engine": "sparse"}}),
            GRAPH, 0, "pi_4", model.masks, {},
        )
        for mu in (0.0, 1.0)
    ]  # fmt: skip
    assert plans[0] is not None
    assert plans[1] is not None
    assert plans[1].predicted_peak_bytes - plans[0].predicted_peak_bytes == 4 * held


def test_a_device_that_regrows_keeps_its_number_of_weights_and_trains_the_new_ones() -> None:
    model, (x, y) = sparse_model(GRAPH, 0.3), batch_of(GRAPH, 24)
    alive: list[weakref.ref[Trainer]] = []

    def start(model: SparseModel) -> Trainer:
        assert all(one() is None for one in alive), "a device has no memory for two"
        trainer = TorchTrainer(GRAPH, model, SgdConfig(0.1), 6)
        alive.append(weakref.ref(trainer))
        return trainer

    update = train_locally(
        start,
        model,
        ArraySamples(x, y),
        epochs=2,
        batch_size=6,
        generator=rng(0, "b"),
        quotas={"body": 9},
        adjustment=Regrow(),
    )
    before, after = model.weights["body"].mask, update.model.weights["body"]
    new = np.isin(after.mask.indices, before.indices, invert=True)
    assert after.nnz == before.nnz
    assert new.sum() == 9
    assert after.values[new].all(), "the second half of the round trains them"
    assert update.found == {}
    assert len(alive) == 2


def test_squares_hold_every_weights_gradient() -> None:
    model, (x, y) = sparse_model(GRAPH, 0.3), batch_of(GRAPH, 6)
    masks = model.masks
    quotas = {name: mask.size - mask.nnz for name, mask in masks.items()}
    update = train_locally(
        lambda model: TorchTrainer(GRAPH, model, SgdConfig(0.1), 6), model, ArraySamples(x, y),
        epochs=1, batch_size=6, generator=rng(0, "b"), quotas=quotas, adjustment=Squares(),
    )  # fmt: skip
    module = GraphModule(GRAPH)
    module.load(update.model.to_dense())
    torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    for name, (where, squares) in update.found.items():
        exact = module.tensor(f"{name}.weight").grad.numpy().ravel() ** 2
        np.testing.assert_array_equal(where, np.arange(exact.size))
        np.testing.assert_allclose(squares, exact, rtol=1e-3, atol=1e-7)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 5), st.integers(3, 12), st.integers(0, 10_000))
def test_sparse_mean_is_the_mean_over_holders(devices: int, size: int, seed: int) -> None:
    generator = np.random.default_rng(seed)
    values = generator.standard_normal((devices, size)).astype(np.float32)
    held = generator.random((devices, size)) < 0.5
    counts = generator.integers(1, 9, devices)
    tensors = [
        SparseTensor.gather(v, Mask((size,), np.flatnonzero(h).astype(np.int32)))
        for v, h in zip(values, held, strict=True)
    ]
    mean = sparse_mean(tensors, counts.tolist())
    weights = held * counts[:, None]
    anyone = held.any(axis=0)
    assert mean.mask.indices.tolist() == np.flatnonzero(anyone).tolist()
    exact = (weights * values).sum(0)[anyone] / weights.sum(0)[anyone]
    np.testing.assert_allclose(mean.values, exact, rtol=1e-5, atol=1e-6)
    kept = keep_largest(mean, min(2, mean.nnz))
    assert kept.nnz == min(2, mean.nnz)
    assert np.abs(kept.values).min(initial=np.inf) >= np.sort(np.abs(mean.values))[-kept.nnz:].min(
        initial=np.inf
    )  # fmt: skip


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.integers(4, 8))
def test_reconfigure_finds_the_best_masks_there_are(seed: int, size: int) -> None:
    """Greedy equals exhaustive search where the budget does not bind (PruneFL)."""
    generator = np.random.default_rng(seed)
    dense = generator.standard_normal(size).astype(np.float32) * (generator.random(size) < 0.6)
    dense[0] = 9.0
    weight = SparseTensor.from_dense(dense)
    squares = {"a": generator.random(size).astype(np.float32)}
    quota = weight.nnz // 2
    cost = TimeCost(2.0, {"a": 1.0})
    found = reconfigure({"a": weight}, squares, {"a": quota}, cost, size)["a"].mask

    def progress(indices: tuple[int, ...]) -> float:
        return float(squares["a"][list(indices)].sum()) / (2.0 + len(indices))

    core = weight.mask.indices[np.argsort(-np.abs(weight.values))[: weight.nnz - quota]].tolist()
    free = sorted(set(range(size)) - set(core))
    options = (tuple(core) + extra for n in range(len(free) + 1) for extra in combinations(free, n))
    best = max(progress(option) for option in options)
    assert progress(tuple(found.indices.tolist())) == pytest.approx(best, rel=1e-6)
    tight = reconfigure({"a": weight}, squares, {"a": quota}, cost, weight.nnz)["a"]
    assert tight.nnz <= weight.nnz


def test_synflow_scores_are_conserved_from_layer_to_layer() -> None:
    """In a chain every layer carries the whole flow: Σ S is one number (Tanaka et al. 2020)."""
    masks = global_masks({n: STATE[f"{n}.weight"] for n in FULL}, 120)
    sums = [float(score.sum()) for score in _scores(GRAPH, STATE, masks).values()]
    assert sums[0] > 0
    assert sums[0] == pytest.approx(sums[1], rel=1e-9)


def test_synflow_never_cuts_the_network_and_ends_at_the_count() -> None:
    masks = synflow_masks(GRAPH, STATE, 12)
    assert sum(mask.nnz for mask in masks.values()) == 12
    flow = _scores(GRAPH, STATE, masks)
    assert all(score.sum() > 0 for score in flow.values())


def test_a_posterior_prefers_what_was_voted_for() -> None:
    posterior = Posterior.uniform(50)
    kept, rest = np.arange(10, dtype=np.int32), np.arange(10, 50, dtype=np.int32)
    for _ in range(5):
        posterior = posterior.observed(kept, np.ones(10)).observed(rest, np.full(40, 0.25))
    mask = posterior.sample((50,), 10, rng(0, "thompson"))
    assert mask.indices.tolist() == kept.tolist()
    again = posterior.sample((50,), 10, rng(0, "thompson"))
    np.testing.assert_array_equal(mask.indices, again.indices)


@pytest.mark.parametrize("name", ["smartwatch_cnn", "resnet8"])
@pytest.mark.parametrize("density", [0.1, 0.05, 0.02])
def test_narrow_is_the_widest_that_fits(name: str, density: float) -> None:
    graph = build(name, (6, 1, 128) if name == "smartwatch_cnn" else (1, 28, 28), 7)
    found = narrow(graph, density)
    base, width = found.name.split("@")
    wider = build(f"{base}@{int(width) + 1}", graph.input_shape, graph.classes)
    assert value_bytes(found) <= value_bytes(graph, density) < value_bytes(wider)


@pytest.mark.parametrize("name", ["smartwatch_cnn@0", "smartwatch_cnn@wide", "unheard_of@3"])
def test_a_bad_width_is_named(name: str) -> None:
    with pytest.raises(FedTinyError, match=r"name@width|unknown model"):
        build(name, (6, 1, 128), 7)


@pytest.mark.skipif(not available(), reason="engine not compiled")
def test_a_method_that_holds_the_dense_model_is_planned_for_it() -> None:
    """SSFL's one dense step decides whether a board can take part."""
    graph = build("smartwatch_cnn", (6, 1, 128), 7)
    weights = []
    for method in ("magnitude", "ssfl"):
        config = parse(
            {"pruning": {"method": method, "density": 0.01}, "training": {"engine": "sparse"}}
        )
        plan = memory_plan(config, graph, 0, "pi_4")
        assert plan is not None
        weights.append(plan.lines["weights"])
    assert weights[1] > 5 * weights[0]


def result(model: SparseModel, **arrays: np.ndarray) -> Packet:
    packet = TrainResult(model, 3, 0.5, {}, None).packet(GRAPH)
    return Packet({**packet.arrays, **arrays}, packet.scalars)


def test_lying_reports_of_the_rivals_are_refused() -> None:
    model, fewer = sparse_model(GRAPH, 0.3), sparse_model(GRAPH, 0.2)
    quotas = {"body": 1}
    update = LocalUpdate(fewer, 3, 0.5, {})
    regrown = TrainResult(fewer, 3, 0.5, {}, None).packet(GRAPH, Regrow().pack(GRAPH, update))
    with pytest.raises(WireError, match="local_masks of body: 28 weights, sent 43"):
        Regrow().read(GRAPH, model.masks, quotas, regrown)
    size = sum(mask.size for mask in model.masks.values())
    negative = result(model, squared_gradients=np.full(size, -1, np.float32))
    with pytest.raises(WireError, match="squared_gradients: negative"):
        Squares().read(GRAPH, model.masks, quotas, negative)
    with pytest.raises(WireError, match="squared_gradients: missing"):
        Squares().read(GRAPH, model.masks, quotas, result(model))
    short = Packet({"scores": np.ones(3, np.float32)}, {"count": 3})
    with pytest.raises(WireError, match="scores: expected"):
        SaliencyScores.read(GRAPH, short)
