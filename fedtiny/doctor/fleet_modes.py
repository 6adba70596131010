"""What each group of a fleet may do with the model, by mode, as ``fedtiny doctor`` says it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedtiny import models
from fedtiny.devices.catalog import get
from fedtiny.doctor.boards import examine
from fedtiny.doctor.fleet import Kind, Question
from fedtiny.doctor.modes import Verdict


def modes_of(kinds: Sequence[Kind], question: Question) -> Mapping[str, tuple[Verdict, ...]]:
    """The verdicts of every group by its name, with the whole model."""
    graph = models.build(question.model, question.input_shape, question.classes)
    return {
        kind.group: examine(
            get(kind.device, question.catalog), graph, question.batch, question.density
        ).modes
        for kind in kinds
    }
