"""Recomputing comes before a smaller micro-batch, and changes no bit of a result."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from array_samples import ArraySamples
from builders import batch_of, fresh_state, random_masks, sparse_model
from hypothesis import given, settings
from hypothesis import strategies as st

from clients import handlers
from clients.device import Device
from fedtiny.config import RunConfig
from fedtiny.data.shares import client_file
from fedtiny.data.simulated import deal_into
from fedtiny.data.statistics import Normalization
from fedtiny.devices.budget import largest_request, memory_plan, nominal_masks
from fedtiny.devices.planner import BudgetError
from fedtiny.engine import EngineOptions, available, plan, unavailable_reason
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.memory.step import StepPlan
from fedtiny.methods.device import DeviceHalf
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Conv
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.training.local import LocalUpdate, train_locally
from fedtiny.training.masked.engine import MaskedDense
from fedtiny.training.sparse.engine import Sparse
from fedtiny.training.sparse.recompute import recomputing_plans
from fedtiny.training.trainer import SgdConfig, Trainer
from fedtiny.wire.packet import Packet
from fedtiny.wire.train import TrainResult, TrainTask

needs_engine = pytest.mark.skipif(not available(), reason=str(unavailable_reason()))
WATCH = build("smartwatch_cnn", (6, 1, 128), 7)
GRAPHS = {
    "smartwatch_cnn": WATCH,
    "resnet8": build("resnet8", (1, 12, 12), 5),
    "ds_cnn": build("ds_cnn", (1, 13, 10), 5),
}


@cache
def task_result(name: str, micro_batch: int, recompute: tuple[str, ...]) -> LocalUpdate:
    """Two epochs on 20 samples in batches of 8, and a growth request in the last layer."""
    graph = GRAPHS[name]
    x, y = batch_of(graph, 20)
    step = StepPlan(micro_batch, recompute)

    def start(model: SparseModel) -> Trainer:
        return Sparse().trainer(graph, model, SgdConfig(0.05), step)

    quotas = {graph.prunable_layers[-1].name: 20, graph.prunable_layers[0].name: 5}
    return train_locally(
        start, sparse_model(graph), ArraySamples(x, y),
        epochs=2, batch_size=8, generator=np.random.default_rng(2), quotas=quotas,
        adjustment=DeviceHalf(),
    )  # fmt: skip


def flat(update: LocalUpdate) -> dict[str, bytes]:
    arrays = {name: value.tobytes() for name, value in update.model.to_dense().items()}
    for name, (indices, values) in update.found.items():
        arrays[f"{name} growth"] = indices.tobytes() + values.tobytes()
    return arrays | {"loss": np.float64(update.loss).tobytes()}


@needs_engine
@settings(deadline=None, max_examples=25)
@given(data=st.data(), name=st.sampled_from(sorted(GRAPHS)), micro_batch=st.sampled_from([8, 4, 3]))
def test_recomputing_any_convolutions_changes_no_bit_of_a_task(data, name, micro_batch):
    convolutions = [layer.name for layer in GRAPHS[name].layers if isinstance(layer, Conv)]
    some = data.draw(st.sets(st.sampled_from(convolutions), min_size=1))
    recompute = tuple(layer for layer in convolutions if layer in some)
    assert flat(task_result(name, micro_batch, recompute)) == flat(
        task_result(name, micro_batch, ())
    )


@pytest.mark.parametrize("quotas", [{}, {"conv4": 450}])
def test_each_plan_needs_less_than_the_one_before_and_is_what_would_be_compiled(
    quotas: Mapping[str, int],
) -> None:
    graph = build("resnet18", (3, 32, 32), 10)
    quotas = {"stage4.2.conv2": 450} if quotas else {}
    masks = sparse_model(graph, 0.05).masks
    plans = list(recomputing_plans(graph, masks, EngineOptions(4), quotas))
    sizes = [one.arena_bytes for one in plans]
    assert len(sizes) > 3
    assert sizes == sorted(set(sizes), reverse=True)
    for one, fewer in zip(plans[1:], plans, strict=False):
        dropped = one.layout.options.recompute
        assert set(fewer.layout.options.recompute) < set(dropped)
        again = plan(graph, masks, EngineOptions(4, recompute=dropped), quotas)
        assert again.lines == one.lines
    assert (plans[-1].growth is not None) == bool(quotas)


@needs_engine
@pytest.mark.parametrize("name", sorted(GRAPHS))
def test_what_is_held_is_to_the_byte_what_was_predicted(name: str) -> None:
    graph, model, engine = GRAPHS[name], sparse_model(GRAPHS[name]), Sparse()
    x = np.zeros((16, *graph.input_shape), np.float32)
    y = np.zeros(16, np.int64)
    ways = list(engine.steps(graph, model.masks, 16, 8, {}))
    assert len(ways) > 1
    measured = [engine.measure(graph, model, SgdConfig(0.1), x, y, step) for step, _ in ways]
    assert measured == sorted(set(measured), reverse=True)
    assert measured == [needed.peak_bytes for _, needed in ways]


def budget_between(config: RunConfig, graph: Graph, micro_batch: int) -> int:
    """Too small for ``micro_batch`` without recomputing, large enough with it."""
    masks = nominal_masks(config, graph)
    quotas = {"conv4": 450}
    sizes = [
        needed.peak_bytes
        for _, needed in Sparse().steps(
            graph, masks, config.training.batch_size, micro_batch, quotas
        )
    ]
    return sum(sizes[:2]) // 2


def test_a_budget_is_met_by_recomputing_before_by_a_smaller_micro_batch(
    tiny_config: Callable[..., RunConfig],
) -> None:
    config = tiny_config("training.engine=sparse")
    budget = budget_between(config, WATCH, 32)
    for size, step in {
        2 * budget: StepPlan(32),
        budget: StepPlan(32, ("conv1",)),
        budget // 2: StepPlan(8),
    }.items():
        entry = plan_within(config, size)
        assert entry.step == step
        assert entry.predicted_peak_bytes <= size
    # with a growth request recomputing saves nothing here: the search for it is the peak
    with pytest.raises(BudgetError, match=r"micro-batch 1 needs .* a smaller adjustment quota"):
        plan_within(config, 100_000)


def plan_within(config: RunConfig, budget: int) -> LedgerEntry:
    devices = config.devices.model_copy(update={"budget_bytes": {0: budget}})
    entry = memory_plan(config.model_copy(update={"devices": devices}), WATCH, 0, "pi_4")
    assert entry is not None
    return entry


@pytest.mark.parametrize(
    ("batch", "step"), [(16, StepPlan(8, ("conv1",))), (32, StepPlan(4))], ids=["16", "demo"]
)
def test_the_watch_model_trains_on_a_microcontroller_without_external_ram(
    tiny_config: Callable[..., RunConfig], batch: int, step: StepPlan
) -> None:
    config = tiny_config("training.engine=sparse", f"training.batch_size={batch}")
    entry = memory_plan(config, WATCH, 0, "stm32h743")
    assert entry is not None
    assert entry.step == step
    assert entry.predicted_peak_bytes <= 768 * 1024


def test_what_the_demo_trains_on_an_stm32h743_fits_its_memory_banks(
    tiny_config: Callable[..., RunConfig],
) -> None:
    """The workspace is one block and goes into AXI SRAM, the rest into SRAM1 and SRAM2."""
    config = tiny_config("training.engine=sparse")
    entry = memory_plan(config, WATCH, 0, "stm32h743")
    assert entry is not None
    workspace = plan(
        WATCH,
        nominal_masks(config, WATCH),
        EngineOptions(entry.step.micro_batch, recompute=entry.step.recompute),
        quotas=largest_request(config, WATCH),
    ).workspace_bytes
    assert workspace <= 512 * 1024
    assert entry.predicted_peak_bytes - workspace <= 256 * 1024


def test_masked_dense_training_recomputes_nothing() -> None:
    masks = sparse_model(WATCH).masks
    ((step, _),) = MaskedDense().steps(WATCH, masks, 16, 8, {})
    assert step == StepPlan(8)


@needs_engine
def test_a_device_that_recomputes_answers_with_the_same_bytes(
    tiny_config: Callable[..., RunConfig], tmp_path: Path
) -> None:
    """From the message to the answer; only the ledger tells the two devices apart."""
    config = tiny_config("training.engine=sparse")
    budget = budget_between(config, WATCH, 32)
    model = from_state(WATCH, fresh_state(WATCH, 3), nominal_masks(config, WATCH))
    deal_into(tmp_path, config.data, config.seed)
    share = client_file(tmp_path, 0)
    quotas = {"conv4": 450}
    normalization = Normalization(np.zeros(6, np.float32), np.full(6, 4096, np.float32))
    task = TrainTask(1, model, normalization, quotas, meter=True).packet(WATCH)
    answers: list[Packet] = []
    ledgers: list[LedgerEntry] = []
    for size in (2 * budget, budget):
        devices = config.devices.model_copy(update={"budget_bytes": {0: size}})
        device = Device(
            config.model_copy(update={"devices": devices}), 0, share, "pi_4", WATCH.to_json()
        )
        answer = handlers.train(device, task)
        ledger = TrainResult.read(WATCH, 0, model.masks, answer).ledger
        assert ledger is not None
        answers.append(answer)
        ledgers.append(ledger)
    plain, again = ledgers
    assert (plain.step, again.step) == (StepPlan(32), StepPlan(32, ("conv1",)))
    assert again.measured_peak_bytes < plain.measured_peak_bytes
    for ledger in ledgers:
        assert ledger.measured_peak_bytes <= ledger.predicted_peak_bytes <= ledger.budget_bytes
    first, second = (
        {name: array.tobytes() for name, array in answer.arrays.items() if name != "ledger"}
        for answer in answers
    )
    assert first == second
    assert {"values", "growth_indices", "growth_values"} <= set(first)


@pytest.mark.parametrize("density", [0.03, 0.4, 0.9])
def test_a_plan_depends_on_how_many_weights_there_are_not_on_where(density: float) -> None:
    lines = [
        plan(WATCH, random_masks(WATCH, density, seed), EngineOptions(8), {"conv3": 40}).lines
        for seed in (0, 1)
    ]
    assert lines[0] == lines[1]
