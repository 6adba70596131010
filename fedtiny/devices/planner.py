"""The training step that fits a device's budget with the largest micro-batch, or why none does."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fedtiny.devices.profile import DeviceProfile
from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import LedgerLine, MemoryPrediction, format_bytes
from fedtiny.memory.step import StepPlan

Steps = Callable[[int], Iterable[tuple[StepPlan, MemoryPrediction]]]
"""Micro-batch -> ways to do a step with it and their predicted bytes, the fastest first."""

_REMEDIES = {
    LedgerLine.WEIGHTS: "a model with fewer parameters",
    LedgerLine.INDICES: "a model with fewer prunable weights",
    LedgerLine.GRADIENTS: "a model with fewer parameters",
    LedgerLine.OPTIMIZER: "a model with fewer parameters",
    LedgerLine.SAVED_ACTIVATIONS: "a narrower model or smaller inputs",
    LedgerLine.TEMPORARIES: "a narrower model or smaller inputs",
    LedgerLine.TOP_K: "a smaller adjustment quota",
    LedgerLine.BATCH: "a smaller batch_size",
    LedgerLine.KERNEL_WORKSPACE: "a narrower model or smaller inputs",
}


class RefusedError(FedTinyError):
    """A board cannot do with a model; the message says why, and what would help."""


class BudgetError(RefusedError):
    """No allowed micro-batch fits.

    Attributes:
        line: the ledger line with most bytes in the smallest step tried.
        excess_bytes: by how much that step exceeds the budget.
    """

    def __init__(self, message: str, line: LedgerLine, excess_bytes: int) -> None:
        super().__init__(message)
        self.line = line
        self.excess_bytes = excess_bytes


def micro_batches(batch: int, minimum: int = 1) -> tuple[int, ...]:
    """Divisors of ``batch`` that are at least ``minimum``, largest first.

    Only divisors, so that every micro-batch has the same number of samples and batch norm
    sees statistics of one quality.

    >>> micro_batches(48, minimum=8)
    (48, 24, 16, 12, 8)
    """
    return tuple(n for n in range(batch, max(minimum, 1) - 1, -1) if batch % n == 0)


def plan_step(
    steps: Steps, batch: int, budget_bytes: int, minimum: int = 1
) -> tuple[StepPlan, MemoryPrediction]:
    """The fastest step that fits at the largest micro-batch that fits, and what it needs.

    Recomputing comes before a smaller micro-batch, because it changes no result. A micro-batch
    below ``batch`` is normalised by its own statistics ("ghost" batch norm, Hoffer et al. 2017);
    below about 8 samples these get noisy: set ``minimum`` to refuse.

    Args:
        steps: the ways to do a step, by micro-batch; tried in order, as far as needed.
        batch: samples per optimizer step.
        budget_bytes: what the step may use.
        minimum: smallest micro-batch allowed, in 1..``batch``.

    Raises:
        BudgetError: even the last way at the smallest allowed micro-batch needs more; names the
            ledger line.
        ValueError: ``minimum`` is not in 1..``batch``.
    """
    if not 1 <= minimum <= batch:
        raise ValueError(f"minimum must be in 1..{batch}, got {minimum}")
    for micro_batch in micro_batches(batch, minimum):
        for step, prediction in steps(micro_batch):
            if prediction.peak_bytes <= budget_bytes:
                return step, prediction
    raise _too_big(prediction, step, budget_bytes)


def plan_device(
    profile: DeviceProfile,
    steps: Steps,
    batch: int,
    budget_bytes: int | None = None,
    minimum: int = 1,
) -> tuple[StepPlan, MemoryPrediction]:
    """:func:`plan_step` for one board.

    Args:
        profile: the board.
        steps, batch, minimum: as for :func:`plan_step`.
        budget_bytes: replaces the board's own training budget.

    Raises:
        BudgetError: nothing fits, or the board does not train; names board and ledger line.
    """
    if not profile.trains:
        *_, (step, prediction) = steps(minimum)
        raise _does_not_train(profile, prediction, step)
    budget = profile.training_budget_bytes if budget_bytes is None else budget_bytes
    try:
        return plan_step(steps, batch, budget, minimum)
    except BudgetError as error:
        raise BudgetError(f"{profile.name}: {error}", error.line, error.excess_bytes) from None


def _too_big(prediction: MemoryPrediction, step: StepPlan, budget_bytes: int) -> BudgetError:
    line = prediction.dominating_line
    excess = prediction.peak_bytes - budget_bytes
    return BudgetError(
        f"a training step with {_described(step)} needs "
        f"{format_bytes(prediction.peak_bytes)}, {format_bytes(excess)} more than the budget of "
        f"{format_bytes(budget_bytes)}; its largest ledger line is {line.value} "
        f"({format_bytes(prediction.lines[line])}). What would help: {_REMEDIES[line]}, or "
        f"budget_bytes of at least {prediction.peak_bytes}",
        line,
        excess,
    )


def _does_not_train(
    profile: DeviceProfile, prediction: MemoryPrediction, step: StepPlan
) -> BudgetError:
    line = prediction.dominating_line
    excess = max(prediction.peak_bytes - profile.ram_bytes, 0)
    comparison = f"{format_bytes(excess)} more than" if excess else "which is within"
    return BudgetError(
        f"{profile.name} is a run target and does not train: a step with {_described(step)} "
        f"needs {format_bytes(prediction.peak_bytes)}, {comparison} all its "
        f"{format_bytes(profile.ram_bytes)} of RAM; its largest ledger line is {line.value} "
        f"({format_bytes(prediction.lines[line])}). Train on a board with external RAM or Linux "
        "and export the model to this one",
        line,
        excess,
    )


def _described(step: StepPlan) -> str:
    text = f"micro-batch {step.micro_batch}"
    if step.recompute:
        text += f" and {', '.join(step.recompute)} recomputed"
    return text
