"""What a board may do with a model: train it, adapt it, run it, or only encode pictures for it.

Modes in order of preference; a board's is the first that fits, and every other says why not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np

from fedtiny.adapt.budget import budget_bytes
from fedtiny.adapt.learning import predicted
from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.recipe import Recipe, Task
from fedtiny.bench import synthetic
from fedtiny.config.adapt import MethodName
from fedtiny.devices.planner import plan_step
from fedtiny.devices.profile import DeviceProfile
from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import MemoryPrediction, format_bytes
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph

OFFERED = (MethodName.REPNET_ONE_WAY, MethodName.HEAD)
"""Ways to adapt, the one that can learn more first; both leave the backbone without gradients."""


class Mode(StrEnum):
    """What a board does."""

    TRAIN = "train"
    ADAPT = "adapt"
    INFER = "infer"
    ENCODE = "encode"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a board may do something, and what that takes.

    Attributes:
        mode: what.
        fits: whether it may.
        lines: bytes by ledger line (training, adapting), or of flash and arena (inference).
        budget_bytes: what it may use; 0 if nothing is set aside for it.
        how: the micro-batch, and how it is adapted; empty if it does not fit.
        why: why not, naming what is too large; empty if it fits.
    """

    mode: Mode
    fits: bool
    lines: Mapping[str, int]
    budget_bytes: int
    how: str
    why: str

    @property
    def peak_bytes(self) -> int:
        """Of RAM: all lines but flash."""
        return sum(size for line, size in self.lines.items() if line != "flash")


def adapting(profile: DeviceProfile, graph: Graph, batch: int, density: float) -> Verdict:
    """Whether a board can adapt a finished model to its wearer.

    Args:
        profile: the board.
        graph: the model.
        batch: windows per optimizer step.
        density: nnz / prunable weights, in (0, 1].

    >>> from fedtiny.devices.catalog import get
    >>> from fedtiny.models import smartwatch_cnn
    >>> found = adapting(get("nrf5340"), smartwatch_cnn((6, 1, 128), 7), 4, 0.05)
    >>> found.fits, found.how
    (True, 'head, micro-batch 4')
    """
    budget, reasons = budget_bytes(profile), list[str]()
    for method in OFFERED:

        def ways(
            micro_batch: int, method: MethodName = method
        ) -> Iterator[tuple[StepPlan, MemoryPrediction]]:
            prediction = _prediction(graph, density, method, batch, micro_batch)
            yield StepPlan(micro_batch), prediction

        try:
            step, prediction = plan_step(ways, batch, budget)
        except FedTinyError as error:
            reasons.append(f"{method.value}: {error}")
            continue
        lines = {line.value: size for line, size in prediction.lines.items() if size}
        how = f"{method.value}, micro-batch {step.micro_batch}"
        return Verdict(Mode.ADAPT, True, lines, budget, how, "")
    return Verdict(Mode.ADAPT, False, {}, budget, "", f"{profile.name}: {'; '.join(reasons)}")


@lru_cache(maxsize=256)
def _prediction(
    graph: Graph, density: float, method: MethodName, batch: int, micro_batch: int
) -> MemoryPrediction:
    return predicted(_recipe(graph, density, method), batch, micro_batch)


@lru_cache(maxsize=32)
def _recipe(graph: Graph, density: float, method: MethodName) -> Recipe:
    x, y = np.zeros((1, *graph.input_shape), np.float32), np.zeros(1, np.int64)
    return METHODS[method](Task(graph, synthetic.float_model(graph, density), x, y, 0))


def chosen(verdicts: Sequence[Verdict]) -> str:
    """The mode of the first verdict that fits; ``"nothing"`` if none does."""
    return next((verdict.mode.value for verdict in verdicts if verdict.fits), "nothing")


def sentences(name: str, verdicts: Sequence[Verdict]) -> list[str]:
    """What is said of a board, or of a group of them, wherever modes are printed.

    >>> fits = Verdict(Mode.INFER, True, {"flash": 2048, "arena": 1024}, 0, "int8", "")
    >>> sentences("board", [Verdict(Mode.TRAIN, False, {}, 0, "", "board: too small"), fits])
    ['board: infer (int8, 1.00 KiB)', 'no train: board: too small']
    """
    fitting = [
        f"{one.mode.value} ({one.how}, {format_bytes(one.peak_bytes)})"
        for one in verdicts
        if one.fits
    ]
    reasons = [f"no {one.mode.value}: {one.why}" for one in verdicts if not one.fits]
    return [f"{name}: {', '.join(fitting) or 'nothing'}", *reasons]
