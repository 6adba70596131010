"""One sample, one class, one value: one rule, and both engines keep it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

from builders import fresh_state, random_masks

from fedtiny.data.dataset import Dataset, SensorSpec
from fedtiny.data.samples import Samples
from fedtiny.data.statistics import Normalization
from fedtiny.engine import EngineOptions, available, unavailable_reason
from fedtiny.methods.device import DeviceHalf
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Pool
from fedtiny.models.sparse_model import from_state
from fedtiny.seeding import rng
from fedtiny.training.local import train_locally
from fedtiny.training.masked.trainer import TorchTrainer
from fedtiny.training.sparse.trainer import EngineTrainer
from fedtiny.training.trainer import SgdConfig, Trainer

pytestmark = pytest.mark.skipif(not available(), reason=str(unavailable_reason()))

ONE_BY_ONE = Graph(
    "onebyone",
    (2, 1, 4),
    (
        Conv("stem", INPUT, 2, 4, (1, 4), prunable=False),  # 1x1 maps from here on
        Conv("body", "stem", 4, 4, (1, 1)),
        Pool("pool", "body"),
        Linear("classifier", "pool", 4, 3, prunable=False),
    ),
)
SGD = SgdConfig(0.1, 0.9, 1e-4)


def samples(labels: list[int]) -> Samples:
    """As many as labels, of three classes."""
    x = rng(0, "x").integers(-100, 100, (len(labels), 2, 1, 4)).astype(np.int16)
    spec = SensorSpec(("a", "b"), ("g", "g"), (1.0, 1.0))
    owners = np.zeros(len(labels), np.int32)
    data = Dataset(x, np.array(labels, np.int64), owners, ("p", "q", "r"), spec)
    return Samples(data, Normalization(np.zeros(2, "f4"), np.full(2, 50, "f4")))


def trained(engine: str, found: Samples, batch_size: int, micro: int, quotas: dict[str, int]):
    """What a device reports after two epochs, its evaluation, and its statistics."""
    model = from_state(ONE_BY_ONE, fresh_state(ONE_BY_ONE), random_masks(ONE_BY_ONE, 0.5))

    def start(model) -> Trainer:
        if engine == "torch":
            return TorchTrainer(ONE_BY_ONE, model, SGD, micro_batch=micro)
        return EngineTrainer(ONE_BY_ONE, model, SGD, EngineOptions(micro))

    update = train_locally(
        start,
        model,
        found,
        epochs=2,
        batch_size=batch_size,
        generator=rng(0, "batches"),
        quotas=quotas,
        adjustment=DeviceHalf(),
    )
    trainer = start(update.model)
    evaluation = trainer.evaluate(found)  # first: statistics change PyTorch's model
    return update, evaluation, trainer.batch_norm_moments(found)


CASES = {
    "one sample": ([1], 4, 4),
    "one sample, batches of one": ([1], 1, 1),
    "batches of one": ([0, 1, 2, 1], 1, 1),
    "a last batch of one": ([0, 1, 2, 1, 0], 4, 4),
    "a last batch of one of thirteen": ([0, 1, 2] * 4 + [1], 4, 4),
    "a last batch of two": ([0, 1, 2, 1, 0, 0], 4, 4),
    "micro-batches of one": ([0, 1, 2, 1, 0, 0], 4, 1),
    "a last micro-batch of one": ([0, 1, 2, 1, 0, 2, 2], 7, 3),
    "one class": ([2] * 6, 4, 4),
    "one class, one sample left over": ([0] * 5, 2, 2),
}


@pytest.mark.parametrize("quotas", [{}, {"body": 2}], ids=["plain", "adjusting"])
@pytest.mark.parametrize("case", CASES)
def test_both_engines_do_the_same(case: str, quotas: dict[str, int]) -> None:
    labels, batch_size, micro = CASES[case]
    found = samples(labels)
    ours, theirs = (trained(e, found, batch_size, micro, quotas) for e in ("sparse", "torch"))
    assert ours[0].count == theirs[0].count == len(labels)
    assert np.isfinite(ours[0].loss)
    assert ours[0].loss == pytest.approx(theirs[0].loss, rel=1e-4)
    mine, expected = ours[0].model.to_dense(), theirs[0].model.to_dense()
    for name, value in expected.items():
        assert np.isfinite(value).all(), name
        np.testing.assert_allclose(mine[name], value, rtol=1e-3, atol=1e-4, err_msg=name)
    assert ours[0].found.keys() == theirs[0].found.keys() == quotas.keys()
    np.testing.assert_array_equal(ours[1].confusion, theirs[1].confusion)
    assert ours[1].confusion.sum() == len(labels)
    for name, one in theirs[2].items():
        np.testing.assert_allclose(ours[2][name].mean, one.mean, rtol=1e-3, atol=1e-4)
        np.testing.assert_allclose(ours[2][name].variance, one.variance, rtol=1e-3, atol=1e-4)
