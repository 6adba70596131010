"""The masked-dense trainer against plain PyTorch, and its invariants."""

import re

import numpy as np
import pytest
import torch
from array_samples import ArraySamples
from builders import SMALL, batch_of, sparse_model
from hypothesis import given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from fedtiny.methods.device import DeviceHalf
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Pool
from fedtiny.models.torch_module import GraphModule
from fedtiny.seeding import rng
from fedtiny.training.local import train_locally
from fedtiny.training.masked.trainer import TorchTrainer
from fedtiny.training.trainer import SgdConfig

GRAPH = SMALL
SGD = SgdConfig(0.1, 0.9, 1e-3)


@settings(deadline=None, max_examples=20)
@given(st.floats(0.02, 1.0), st.integers(1, 12), st.integers(0, 3))
def test_masks_never_change_and_other_weights_stay_zero(
    density: float, micro_batch: int, seed: int
) -> None:
    model = sparse_model(GRAPH, density, seed)
    trainer = TorchTrainer(GRAPH, model, SGD, micro_batch)
    x, y = batch_of(GRAPH, 12, seed)
    for _ in range(3):
        trainer.step(x, y)
        state = trainer._module.state()
        for name, mask in model.masks.items():
            assert not state[f"{name}.weight"][~mask.to_bool()].any()
    after = trainer.model()
    for name, mask in model.masks.items():
        np.testing.assert_array_equal(after.weights[name].mask.indices, mask.indices)


def test_masked_step_equals_pytorch_pruning_reparametrisation() -> None:
    """torch.nn.utils.prune multiplies weight by mask in forward: an independent formulation."""
    model = sparse_model(GRAPH, 0.3)
    x, y = batch_of(GRAPH, 10)
    trainer = TorchTrainer(GRAPH, model, SgdConfig(0.1, 0.9), 10)
    module = GraphModule(GRAPH)
    module.load(model.to_dense())
    masks = {f"{n}.weight": torch.from_numpy(m.to_bool()) for n, m in model.masks.items()}
    momentum = {row.name: torch.zeros(row.shape) for row in GRAPH.parameters}
    for _ in range(4):
        trainer.step(x, y)
        module.zero_grad()
        loss = torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        with torch.no_grad():
            for name in momentum:
                parameter = module.tensor(name)
                momentum[name] = 0.9 * momentum[name] + parameter.grad * masks.get(name, 1)
                parameter -= 0.1 * momentum[name]
    expected, found = module.state(), trainer.model().to_dense()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_accumulation_without_batch_norm_equals_the_whole_batch() -> None:
    plain = Graph(
        "plain",
        (2, 1, 16),
        (
            Conv("stem", INPUT, 2, 4, (1, 3), batch_norm=False, prunable=False),
            Conv("body", "stem", 4, 4, (1, 3), batch_norm=False),
            Pool("pool", "body"),
            Linear("classifier", "pool", 4, 3, prunable=False),
        ),
    )
    model = sparse_model(plain, 1.0)
    x, y = batch_of(GRAPH, 10)
    whole, parts = TorchTrainer(plain, model, SGD, 10), TorchTrainer(plain, model, SGD, 3)
    assert whole.step(x, y) == pytest.approx(parts.step(x, y), rel=1e-5)
    for name, value in whole.model().to_dense().items():
        np.testing.assert_allclose(parts.model().to_dense()[name], value, rtol=1e-4, atol=1e-6)


def test_a_trainer_computes_with_one_thread_whoever_counted_before() -> None:
    """threadpoolctl lowers OpenMP's count; MKL is linked into PyTorch and keeps its own."""
    torch.set_num_threads(2)
    with threadpool_limits(1):
        TorchTrainer(GRAPH, sparse_model(GRAPH, 0.3), SGD, 4)
        told = torch.__config__.parallel_info()
    torch.set_num_threads(1)
    counts = dict(re.findall(r"(\w+_(?:num|max)_threads)\(\) : (\d+)", told))
    assert counts.pop("omp_get_max_threads") == counts.pop("get_num_threads") == "1"
    assert set(counts.values()) <= {"1"}, counts  # MKL, where PyTorch has it


def test_growth_is_the_top_of_autograds_dense_gradient() -> None:
    model = sparse_model(GRAPH, 0.2)
    x, y = batch_of(GRAPH, 10)
    trainer = TorchTrainer(GRAPH, model, SGD, 10)
    found = trainer.growth(x, y, {"body": 7})["body"]
    module = GraphModule(GRAPH)
    module.load(model.to_dense())
    torch.nn.functional.cross_entropy(module(torch.from_numpy(x)), torch.from_numpy(y)).backward()
    gradient = module.tensor("body.weight").grad.numpy().ravel()
    absent = model.masks["body"].complement()
    ranked = absent[np.lexsort((absent, -np.abs(gradient[absent])))][:7]
    np.testing.assert_array_equal(found[0], np.sort(ranked))
    np.testing.assert_array_equal(found[1], gradient[found[0]])


def test_growth_leaves_the_model_as_it_was() -> None:
    trainer = TorchTrainer(GRAPH, sparse_model(GRAPH, 0.2), SGD, 4)
    x, y = batch_of(GRAPH, 10)
    before = trainer.model().to_dense()
    trainer.growth(x, y, {"body": 3})
    for name, value in trainer.model().to_dense().items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)


def test_evaluation_counts_by_class_and_is_independent_of_batching() -> None:
    x, y = batch_of(GRAPH, 23)
    samples = ArraySamples(x, y)
    one = TorchTrainer(GRAPH, sparse_model(GRAPH, 0.5), micro_batch=23).evaluate(samples)
    many = TorchTrainer(GRAPH, sparse_model(GRAPH, 0.5), micro_batch=4).evaluate(samples)
    np.testing.assert_array_equal(one.confusion, many.confusion)
    np.testing.assert_array_equal(one.confusion.sum(1), np.bincount(y, minlength=3))
    assert one.loss_sum == pytest.approx(many.loss_sum, rel=1e-5)
    assert one.count == 23


def test_ranges_contain_every_value_and_are_reached() -> None:
    x, y = batch_of(GRAPH, 9)
    trainer = TorchTrainer(GRAPH, sparse_model(GRAPH, 0.5), micro_batch=4)
    ranges = trainer.ranges(ArraySamples(x, y))
    assert ranges[INPUT] == (pytest.approx(x.min()), pytest.approx(x.max()))
    assert list(ranges) == list(GRAPH.observed)
    assert ranges["body"][0] >= 0  # after its ReLU


class RecordingTrainer:
    """Remembers what it is asked for."""

    def __init__(self) -> None:
        self.steps: list[int] = []
        self.growth_batch = 0

    def step(self, x: np.ndarray, y: np.ndarray) -> float:
        self.steps.append(len(x))
        return 1.0

    def growth(self, x: np.ndarray, y: np.ndarray, quotas: dict) -> dict:
        self.growth_batch = len(x)
        return {}

    def model(self) -> None:
        return None


@pytest.mark.parametrize(("count", "expected"), [(10, 4), (3, 3), (8, 4)])
def test_growth_uses_the_last_full_batch(count: int, expected: int) -> None:
    trainer = RecordingTrainer()
    x, y = batch_of(GRAPH, count)
    train_locally(
        lambda _: trainer, sparse_model(GRAPH, 0.5), ArraySamples(x, y),
        epochs=2, batch_size=4, generator=rng(0, "b"), quotas={"body": 1}, adjustment=DeviceHalf(),
    )  # fmt: skip
    assert trainer.growth_batch == expected
    assert sum(trainer.steps) == 2 * count
