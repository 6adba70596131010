"""A device's round stays within what the ledger predicts: no dense model, no data set in floats."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from builders import sparse_model, unnormalized

from clients import handlers
from clients.device import Device
from fedtiny.config import parse
from fedtiny.data.client import ClientData
from fedtiny.data.dataset import Dataset, SensorSpec
from fedtiny.devices.budget import largest_request
from fedtiny.engine import available, unavailable_reason
from fedtiny.models import build
from fedtiny.models.sparse_model import SparseModel
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.train import TrainTask

pytestmark = pytest.mark.skipif(not available(), reason=str(unavailable_reason()))

Case = tuple[str, tuple[int, int, int], int, float]

BIG_MODEL: Case = ("resnet18", (3, 32, 32), 24, 0.01)
"""45 MB dense, 1 MB sparse; few samples."""

MANY_SAMPLES: Case = ("smartwatch_cnn", (6, 1, 128), 6000, 0.1)
"""9 MB of counts, 18 MB as floats; a small model."""

INTERPRETER_BYTES = 2**20
"""Python objects, which tracemalloc counts with the arrays: plans, above all."""


def dataset(shape: tuple[int, int, int], count: int) -> Dataset:
    random = np.random.default_rng(0)
    sensor = SensorSpec(("a",) * shape[0], ("1",) * shape[0], (1.0,) * shape[0])
    return Dataset(
        random.integers(-900, 900, (count, *shape), dtype=np.int16),
        random.integers(4, size=count),
        np.zeros(count, np.int32),
        tuple("abcd"),
        sensor,
    )


def device_with(case: Case, method: str, training: Mapping[str, object] | None = None) -> Device:
    name, shape, count, density = case
    config = parse(
        {
            "model": {"name": name},
            "training": {"epochs": 1, "batch_size": 8, "engine": "sparse", **(training or {})},
            "pruning": {"method": method, "density": density, "interval": 1, "stop": 4},
        }
    )
    graph = build(name, shape, 4)
    device = Device(config, 0, Path("unused"), "pi_5", graph.to_json())
    samples = dataset(shape, count)
    device.__dict__["data"] = ClientData(samples, samples, samples)
    return device


def model_bytes(model: SparseModel) -> int:
    arrays = [array for w in model.weights.values() for array in (w.values, w.mask.indices)]
    return sum(array.nbytes for array in [*arrays, *model.dense.values()])


def peak_of(handler: Callable[[Device, Packet], Packet], device: Device, packet: Packet) -> int:
    """Most bytes that the handler held at once beside the data set and the message."""
    assert device.graph
    assert device.engine
    tracemalloc.start()
    try:
        handler(device, packet)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("case", [BIG_MODEL, MANY_SAMPLES], ids=["big model", "many samples"])
@pytest.mark.parametrize("mu", [0.0, 0.5], ids=["plain", "proximal"])
@pytest.mark.parametrize("method", ["fedtiny", "feddst"])
def test_a_training_round_holds_what_the_ledger_says(case: Case, method: str, mu: float) -> None:
    device = device_with(case, method, {"proximal_mu": mu})
    model = sparse_model(device.graph, case[-1])
    quotas = largest_request(device.config, device.graph)
    normalization = unnormalized(device.graph.input_shape[0])
    task = TrainTask(1, model, normalization, quotas, meter=False)
    plan = device.plan(model.masks, quotas)
    assert quotas
    assert plan is not None
    peak = peak_of(handlers.train, device, task.packet(device.graph))
    # Received, trained and packed copies of the sparse model live beside the training step.
    assert peak <= plan.predicted_peak_bytes + 4 * model_bytes(model) + INTERPRETER_BYTES


@pytest.mark.parametrize("handler", [handlers.evaluate, handlers.calibrate])
def test_looking_at_samples_holds_one_micro_batch(handler: Callable[..., Packet]) -> None:
    device = device_with(MANY_SAMPLES, "fedtiny")
    model = sparse_model(device.graph, MANY_SAMPLES[-1])
    normalization = unnormalized(device.graph.input_shape[0])
    packet = ModelTask(model, normalization).packet(device.graph)
    plan = device.plan(model.masks, {})
    assert plan is not None
    peak = peak_of(handler, device, packet)
    assert peak <= plan.predicted_peak_bytes + 4 * model_bytes(model) + INTERPRETER_BYTES
