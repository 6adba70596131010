"""What each group of a fleet may do with the model, by mode, as ``fedtiny doctor`` says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedtiny import models
from fedtiny.devices.catalog import get
from fedtiny.doctor.boards import examine
from fedtiny.doctor.fleet import Kind, Question
from fedtiny.doctor.modes import Mode, Verdict


def modes_of(kinds: Sequence[Kind], question: Question) -> Mapping[str, tuple[Verdict, ...]]:
    """The verdicts of every group by its name: training as the fleet has it, the rest by board."""
    graph = models.build(question.model, question.input_shape, question.classes)
    found = {}
    for kind in kinds:
        board = get(kind.device, question.catalog)
        modes = examine(board, graph, question.batch, question.density).modes
        others = (one for one in modes if one.mode is not Mode.TRAIN)
        found[kind.group] = (training(kind), *others)
    return found


def training(kind: Kind) -> Verdict:
    """Of a group: its part, within its own budget, which need not be the board's."""
    if kind.ledger is None:
        return Verdict(Mode.TRAIN, False, {}, kind.budget_bytes, "", kind.refused)
    lines = {line.value: size for line, size in kind.ledger.lines.items() if size}
    part = "" if kind.width == 1 else f"width {kind.width:g}, "
    how = f"{part}micro-batch {kind.ledger.step.micro_batch}"
    return Verdict(Mode.TRAIN, True, lines, kind.budget_bytes, how, "")
