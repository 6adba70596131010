"""A report before there is anything to report: whatever cannot be drawn is found here."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fedtiny.memory.ledger import LedgerEntry
from fedtiny.models.cost import parameter_count, statistics_count, training_flops
from fedtiny.models.graph import Graph
from fedtiny.report import write
from fedtiny.runs.event_parts import Group, Traffic
from fedtiny.runs.events import (
    DeviceDescribed,
    Evaluated,
    Event,
    Exchanged,
    ModelPrepared,
    Pretrained,
    RoundFinished,
    RunStarted,
)
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.metrics import MetricsWriter
from fedtiny.wire.phase import Phase


def rehearse_report(folder: RunFolder, graph: Graph, plans: Sequence[LedgerEntry]) -> None:
    """Write events in which nobody learned anything into ``folder``, and the report of them.

    Args:
        folder: with the run's config, an untrained model and perhaps an ``export.json``.
        graph: the model.
        plans: of the devices that have a budget.

    Raises:
        FedTinyError: what the report says.
    """
    config = folder.load_config()
    story = config.method.name
    MetricsWriter(folder.metrics, _events(graph, plans, story, config.data.partitions)).close()
    from fedtiny.report.plots.style import unpainted  # noqa: PLC0415 - matplotlib is slow to import, and optional

    with unpainted():
        write(folder)


def _events(
    graph: Graph, plans: Sequence[LedgerEntry], method: str, partitions: int
) -> Iterator[Event]:
    flops = training_flops(graph)
    state = (1.0, 1.0, flops, {layer.name: 1.0 for layer in graph.prunable_layers})
    yield RunStarted(
        0, "rehearsal", graph.name, parameter_count(graph), statistics_count(graph), flops
    )
    for plan in plans:
        yield DeviceDescribed(0, plan.partition, 1, plan)
    yield Pretrained(0, 0.0, 0, 0, 0.0)
    yield ModelPrepared(0, *state, {"method": method})
    sent = Traffic(1, 1, {"values": 1})
    for phase in Phase:
        yield Exchanged(1, phase, partitions, partitions, sent, sent, (), 0.0)
    for partition in range(partitions):
        yield _wrong(graph.classes, "same_people", partition)
    yield _wrong(graph.classes, "unseen_people", 0)
    yield RoundFinished(1, *state, loss=0.0, seconds=0.0, adjustment_flops=0)


def _wrong(classes: int, group: Group, who: int) -> Evaluated:
    """One sample of each class, all taken for the first."""
    confusion = tuple(tuple(int(column == 0) for column in range(classes)) for _ in range(classes))
    return Evaluated(1, group, who, classes, 1, 0.0, confusion)
