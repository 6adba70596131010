"""What each board can do with a model, and why not: the data behind ``fedtiny doctor``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from fedtiny.devices.flash import estimate_flash_bytes, flash_reason, layer_nnz
from fedtiny.devices.planner import BudgetError, plan_device
from fedtiny.devices.profile import DeviceProfile
from fedtiny.doctor.arena import estimate_arena_bytes
from fedtiny.doctor.encoding import encoding
from fedtiny.doctor.modes import Mode, Verdict, adapting
from fedtiny.engine import EngineOptions
from fedtiny.memory.ledger import MemoryPrediction, format_bytes
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.sparse.tensor import Mask
from fedtiny.training.sparse import memory as engine_memory


@dataclass(frozen=True, slots=True)
class TrainingVerdict:
    """Whether a board can be a training client, by the memory the sparse engine would take.

    Attributes:
        possible: a micro-batch fits.
        budget_bytes: what a step may use; 0 if the board does not train at all.
        batch: samples per optimizer step.
        micro_batch: the largest that fits; None if none does.
        recompute: convolutions run twice for that.
        prediction: bytes of that step; None if none fits.
        reason: why not, naming the ledger line; empty if possible.
    """

    possible: bool
    budget_bytes: int
    batch: int
    micro_batch: int | None
    recompute: tuple[str, ...]
    prediction: MemoryPrediction | None
    reason: str


@dataclass(frozen=True, slots=True)
class RunVerdict:
    """Whether the int8 model fits a board. Estimates, before any export.

    Attributes:
        possible: flash and arena fit.
        flash_bytes: weights, indices, biases and multipliers; without code.
        arena_bytes: activations live at once; without stack.
        reason: why not; empty if possible.
    """

    possible: bool
    flash_bytes: int
    arena_bytes: int
    reason: str


@dataclass(frozen=True, slots=True)
class BoardReport:
    """One board's row.

    Attributes:
        profile: of the board.
        training: as a client of a federation.
        run: of the int8 model.
        modes: what it may do, in order of preference: train, adapt, infer, encode.
    """

    profile: DeviceProfile
    training: TrainingVerdict
    run: RunVerdict
    modes: tuple[Verdict, ...]


def examine(
    profile: DeviceProfile,
    graph: Graph,
    batch: int,
    density: float,
    budget_bytes: int | None = None,
) -> BoardReport:
    """What ``profile`` can do with ``graph``.

    Args:
        profile: the board.
        graph: the model.
        batch: samples per optimizer step.
        density: nnz / prunable weights, in (0, 1].
        budget_bytes: replaces the board's own training budget.

    >>> from fedtiny.devices.catalog import get
    >>> from fedtiny.models import smartwatch_cnn
    >>> report = examine(get("esp32_s3"), smartwatch_cnn((6, 1, 128), 7), 64, 0.05)
    >>> report.training.micro_batch, report.run.possible
    (16, True)
    """
    training = _examine_training(profile, graph, batch, density, budget_bytes)
    run = _examine_run(profile, graph, density)
    train = Verdict(
        Mode.TRAIN,
        training.possible,
        {k.value: v for k, v in training.prediction.lines.items() if v}
        if training.prediction
        else {},
        training.budget_bytes,
        f"micro-batch {training.micro_batch}" if training.possible else "",
        training.reason,
    )
    sizes = {"flash": run.flash_bytes, "arena": run.arena_bytes}
    how = "int8" if run.possible else ""
    infer = Verdict(Mode.INFER, run.possible, sizes, profile.ram_bytes, how, run.reason)
    adapt = adapting(profile, graph, batch, density)
    if not adapt.fits:
        adapt = _in_c_at_least(adapt, profile, graph, density)
    modes = (train, adapt, infer, encoding(profile, graph))
    return BoardReport(profile, training, run, modes)


def _in_c_at_least(plain: Verdict, profile: DeviceProfile, graph: Graph, density: float) -> Verdict:
    """The verdict in C in the place of one that does not fit; both reasons if neither does."""
    try:
        from fedtiny.doctor.learning import learning  # noqa: PLC0415 - base installations lack the firmware extra
    except ModuleNotFoundError as error:
        missing = f"{error.name} is not installed: pip install 'fedtiny[firmware]'"
        return replace(plain, why=f"{plain.why}; in C: {missing}")
    found = learning(profile, graph, density)
    return found if found.fits else replace(plain, why=f"{plain.why}; {found.why}")


def examine_all(
    profiles: Iterable[DeviceProfile], graph: Graph, batch: int, density: float
) -> tuple[BoardReport, ...]:
    """:func:`examine` for several boards."""
    return tuple(examine(profile, graph, batch, density) for profile in profiles)


def _examine_training(
    profile: DeviceProfile, graph: Graph, batch: int, density: float, budget_bytes: int | None
) -> TrainingVerdict:
    budget = profile.training_budget_bytes if budget_bytes is None else budget_bytes
    nnz = layer_nnz(graph, density)
    masks = {  # only how many weights there are matters
        layer.name: Mask(layer.weight_shape, np.arange(nnz[layer.name], dtype=np.int32))
        for layer in graph.prunable_layers
    }

    def steps(micro_batch: int) -> Iterator[tuple[StepPlan, MemoryPrediction]]:
        return engine_memory.steps(graph, masks, batch, EngineOptions(micro_batch))

    try:
        step, prediction = plan_device(profile, steps, batch, budget_bytes)
    except BudgetError as error:
        return TrainingVerdict(False, budget, batch, None, (), None, str(error))
    return TrainingVerdict(True, budget, batch, step.micro_batch, step.recompute, prediction, "")


def _examine_run(profile: DeviceProfile, graph: Graph, density: float) -> RunVerdict:
    flash, arena = estimate_flash_bytes(graph, density), estimate_arena_bytes(graph)
    reasons = []
    if not profile.runs:
        reasons.append("it is no run target")
    if too_small := flash_reason(profile, graph, density):
        reasons.append(too_small)
    if arena > profile.ram_bytes:
        reasons.append(
            f"activations need {format_bytes(arena)} of RAM, it has "
            f"{format_bytes(profile.ram_bytes)}; choose a narrower model or smaller inputs"
        )
    reason = f"{profile.name}: {'; '.join(reasons)}" if reasons else ""
    return RunVerdict(not reasons, flash, arena, reason)
