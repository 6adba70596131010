"""Training and adapting within a budget that the operating system holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from itertools import chain

from clients.device import Device
from fedtiny.devices.planner import BudgetError
from fedtiny.memory.ledger import LedgerEntry, LedgerLine, MemoryPrediction, format_bytes
from fedtiny.models.sparse_model import SparseModel
from fedtiny.node.limits import free_memory_bytes, limited

_COPIES = 4
"""Of the model beside a training step: received, started from, trained, packed."""


@contextmanager
def within_budget(device: Device, plan: LedgerEntry | None, model: SparseModel) -> Iterator[None]:
    """In the block a real device gets the memory of its budget, and no more.

    The budget is that of its board; without one, what is free. A simulated device is not held to
    it: its neighbours are in the same process.

    Args:
        device: that trains.
        plan: of its step.
        model: that it was sent, copies of which lie beside the step.

    Raises:
        BudgetError: the block asked for more; names the budget and the largest ledger line.
    """
    if not device.real:
        yield
        return
    if device.engine.holds_zeros:  # what training imports is no part of its memory
        import_module("torch")
    budget = plan.budget_bytes if plan else free_memory_bytes()
    if budget is None:
        yield
        return
    try:
        with limited(budget + _COPIES * _bytes_of(model)):
            yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "can't allocate memory" not in str(error):
            raise  # PyTorch says so by its words only
        raise _exceeded(device, plan, budget) from error


def _bytes_of(model: SparseModel) -> int:
    sparse = chain.from_iterable((w.values, w.mask.indices) for w in model.weights.values())
    return sum(array.nbytes for array in chain(sparse, model.dense.values()))


def _exceeded(device: Device, plan: LedgerEntry | None, budget: int) -> BudgetError:
    who, line, planned = device.board or "this device", LedgerLine.TEMPORARIES, ""
    if plan:
        needed = MemoryPrediction(plan.lines)
        line = needed.dominating_line
        planned = (
            f". It had planned {format_bytes(needed.peak_bytes)}; the largest ledger line is "
            f"{line.value} ({format_bytes(needed.lines[line])})"
        )
    return BudgetError(
        f"{who}: training asked for more than its budget of {format_bytes(budget)} and was stopped "
        f"there by the operating system; the node goes on{planned}",
        line,
        0,
    )
