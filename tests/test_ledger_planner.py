"""Micro-batch planning: the largest that fits, or a refusal that names the line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.devices.catalog import get
from fedtiny.devices.planner import BudgetError, micro_batches, plan_device, plan_step
from fedtiny.memory.ledger import LedgerEntry, LedgerLine, MemoryPrediction
from fedtiny.memory.step import StepPlan
from fedtiny.models import build
from fedtiny.runs.fields import read_ledger
from fedtiny.training.masked.memory import predict

WATCH = build("smartwatch_cnn", (6, 1, 128), 7)


CONVOLUTIONS = ("a", "b", "c")


def affine(fixed: int, per_sample: int, saved: int = 0):
    """A device that may recompute three convolutions, each saving ``saved`` bytes a sample."""

    def steps(n):
        for count in range(len(CONVOLUTIONS) + 1 if saved else 1):
            lines = {LedgerLine.WEIGHTS: fixed}
            lines[LedgerLine.SAVED_ACTIVATIONS] = n * (per_sample - count * saved)
            yield StepPlan(n, CONVOLUTIONS[:count]), MemoryPrediction(lines)

    return steps


def watch(n):
    return [(StepPlan(n), predict(WATCH, 64, n))]


@given(
    batch=st.integers(1, 256),
    fixed=st.integers(0, 10_000),
    per_sample=st.integers(1, 500),
    budget=st.integers(1, 100_000),
)
def test_result_fits_and_the_next_larger_does_not(batch, fixed, per_sample, budget):
    predictor, smallest = affine(fixed, per_sample), fixed + per_sample
    if smallest > budget:
        with pytest.raises(BudgetError) as caught:
            plan_step(predictor, batch, budget)
        assert caught.value.excess_bytes == smallest - budget
        return
    step, prediction = plan_step(predictor, batch, budget)
    chosen = step.micro_batch
    assert batch % chosen == 0
    assert prediction.peak_bytes == fixed + chosen * per_sample <= budget
    larger = [n for n in range(chosen + 1, batch + 1) if batch % n == 0]
    if larger:
        assert fixed + larger[0] * per_sample > budget


@given(budget=st.integers(1_000_000, 10_000_000))
def test_result_fits_with_the_real_predictor(budget):
    if predict(WATCH, 64, 1).peak_bytes > budget:
        with pytest.raises(BudgetError):
            plan_step(watch, 64, budget)
        return
    step, prediction = plan_step(watch, 64, budget)
    chosen = step.micro_batch
    assert prediction.peak_bytes <= budget
    assert chosen == 64 or predict(WATCH, 64, 2 * chosen).peak_bytes > budget


@given(
    batch=st.integers(1, 64),
    fixed=st.integers(0, 1000),
    per_sample=st.integers(40, 500),
    saved=st.integers(1, 10),
    budget=st.integers(1, 40_000),
)
def test_recomputing_comes_before_a_smaller_micro_batch(batch, fixed, per_sample, saved, budget):
    steps = affine(fixed, per_sample, saved)
    ways = [way for n in micro_batches(batch) for way in steps(n)]
    fitting = [step for step, needed in ways if needed.peak_bytes <= budget]
    if not fitting:
        with pytest.raises(BudgetError, match="micro-batch 1 and a, b, c recomputed needs"):
            plan_step(steps, batch, budget)
        return
    best = max(fitting, key=lambda step: (step.micro_batch, -len(step.recompute)))
    assert plan_step(steps, batch, budget)[0] == best


def test_ways_are_only_compiled_as_far_as_needed():
    tried = []

    def steps(n):
        for way in affine(0, 10, 1)(n):
            tried.append(way[0])
            yield way

    assert plan_step(steps, 4, 36)[0] == StepPlan(4, ("a",))
    assert tried == [StepPlan(4), StepPlan(4, ("a",))]


def test_minimum_is_respected():
    assert micro_batches(60, minimum=8) == (60, 30, 20, 15, 12, 10)
    assert plan_step(affine(0, 10), 64, 80, minimum=8)[0] == StepPlan(8)
    with pytest.raises(BudgetError, match="micro-batch 8 needs 80 B, 1 B more than the budget"):
        plan_step(affine(0, 10), 64, 79, minimum=8)
    with pytest.raises(ValueError, match=r"minimum must be in 1\.\.64, got 65"):
        plan_step(affine(0, 10), 64, 79, minimum=65)


def test_refusal_names_line_excess_and_remedy():
    with pytest.raises(BudgetError) as caught:
        plan_step(affine(3000, 100), 4, 2000)
    error = caught.value
    assert error.line is LedgerLine.WEIGHTS
    assert error.excess_bytes == 1100
    assert "largest ledger line is weights (2.93 KiB)" in str(error)
    assert "fewer parameters, or budget_bytes of at least 3100" in str(error)


def test_nrf52840_is_refused_naming_the_line():
    with pytest.raises(BudgetError) as caught:
        plan_device(get("nrf52840"), watch, 64)
    assert caught.value.line is LedgerLine.WEIGHTS
    assert caught.value.excess_bytes == predict(WATCH, 64, 1).peak_bytes - 256 * 1024
    assert "does not train" in str(caught.value)


def test_a_training_board_too_small_for_a_model_is_refused_by_name():
    vgg = build("vgg11", (3, 32, 32), 10)
    with pytest.raises(BudgetError, match=r"^esp32_s3: a training step .* weights"):
        plan_device(get("esp32_s3"), lambda n: [(StepPlan(n), predict(vgg, 16, n))], 16)


@pytest.mark.parametrize("board", ["esp32_s3", "stm32f746g_disco"])
def test_two_megabyte_boards_split_the_batch(board):
    step, prediction = plan_device(get(board), watch, 64)
    assert step == StepPlan(8)
    assert prediction.peak_bytes <= 2 * 1024 * 1024


def test_budget_override_replaces_the_boards_own():
    assert plan_device(get("esp32_s3"), affine(0, 1000), 64, budget_bytes=16_000)[0] == StepPlan(16)


def test_ledger_entry_survives_json():
    prediction = predict(WATCH, 64, 8)
    entry = LedgerEntry(
        3, "esp32_s3", 2097152, prediction.peak_bytes, 2053308, 64, StepPlan(8, ("conv1",)),
        prediction.lines,
    )  # fmt: skip
    row = json.loads(json.dumps(entry.to_json()))
    assert read_ledger(row) == entry
    assert list(row["lines"]) == [line.value for line in LedgerLine]
    assert sum(row["lines"].values()) == row["predicted_peak_bytes"]
