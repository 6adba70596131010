"""A run folder's metrics.jsonl, config and export as tables: what report and plots read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from fedtiny.config import RunConfig
from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.report.adapting import adapting_summary
from fedtiny.report.clock import Clock, read_clock
from fedtiny.report.encoding import encoding_summary
from fedtiny.report.shapes import shapes_summary
from fedtiny.report.tiers import tiers_summary
from fedtiny.report.words import GROUPS
from fedtiny.runs import checkpoint
from fedtiny.runs.event_parts import Story
from fedtiny.runs.events import (
    Adjusted,
    DeviceDescribed,
    Doubted,
    Evaluated,
    Exchanged,
    Metered,
    ModelPrepared,
    ModelState,
    Pretrained,
    RoundFinished,
    RunStarted,
    Stopped,
)
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.metrics import E, Recording
from fedtiny.runs.trained_model import texts
from fedtiny.text_files import read_json
from fedtiny.wire.measured import Measured
from fedtiny.wire.phase import Phase


@dataclass(frozen=True, slots=True)
class ClientFailure:
    """A client that failed or was not believed, and where.

    Attributes:
        phase, round: of the exchange.
        partition: it holds.
        reason: in words.
    """

    phase: Phase
    round: int
    partition: int
    reason: str


@dataclass(frozen=True, eq=False)
class Run:
    """One run, read.

    Attributes:
        folder, config: of the run.
        start: cost of the model.
        pretrained, story: what pre-training and the method's preparation reported.
        traffic: one row per exchange and direction: phase, round, direction, asked, answered,
            payload, wire (bytes), seconds.
        kinds: payload bytes by phase, round, direction, kind.
        failures: of clients, also those whose reply was not believed, by round.
        evaluations: one row per evaluated round and person: round, group, who, count, correct,
            accuracy in [0, 1].
        confusion: classes × classes counts of the last evaluation by group, rows are true.
        rounds: round (0 is before training), loss, density, density_all, training_flops, seconds.
        densities: round, layer, density.
        adjustments: round, layer, exchanged (weights grown = weights pruned).
        ledger: one entry per device with a budget, measured peak filled in where metered.
        measured: what real devices measured of themselves, by partition; empty in a simulation.
        labels: class names; class numbers while the run has no model yet.
        export: what the int8 export reported; None if there was none.
        dense: the dense reference; None if it was not run.
        notes: what of the events was left out, and why.
        stopped_after: the round that a run was stopped early after; None if it was not.
        clock: simulated; None without one.
        tiers: who trains which part of the model; None where all train all of it.
        shapes: of the model, as devices compared them; None where they did not.
        adapting: what devices learned after the rounds; None where they did not.
        encoded: what devices that can train nothing sent as codes; most often empty.
        modes: what each board may do with the model, as ``modes.json`` has it; most often empty.
    """

    folder: RunFolder
    config: RunConfig
    start: RunStarted
    pretrained: Pretrained
    story: Story
    traffic: pd.DataFrame
    kinds: pd.DataFrame
    failures: Sequence[ClientFailure]
    evaluations: pd.DataFrame
    confusion: Mapping[str, Sequence[Sequence[int]]]
    rounds: pd.DataFrame
    densities: pd.DataFrame
    adjustments: pd.DataFrame
    ledger: Sequence[LedgerEntry]
    measured: Mapping[int, Measured]
    labels: Sequence[str]
    export: Mapping[str, Any] | None
    dense: Run | None
    notes: Sequence[str] = ()
    stopped_after: int | None = None
    clock: Clock | None = None
    tiers: Mapping[str, Any] | None = None
    shapes: Sequence[Mapping[str, Any]] | None = None
    adapting: Mapping[str, Any] | None = None
    encoded: Sequence[Mapping[str, Any]] = ()
    modes: Sequence[Mapping[str, Any]] = ()

    @property
    def last_round(self) -> int:
        """Last evaluated round."""
        return int(self.evaluations["round"].max())

    @property
    def finished(self) -> bool:
        """Whether the last round, as configured or as it turned out, was evaluated."""
        return self.last_round in (self.config.federation.rounds, self.stopped_after)

    def accuracy_by_round(self) -> pd.DataFrame:
        """Samples right / samples, by round (index) and group (columns), in [0, 1]."""
        sums = self.evaluations.groupby(["round", "group"])[["correct", "count"]].sum()
        return (sums["correct"] / sums["count"]).unstack("group").reindex(columns=list(GROUPS))

    def accuracy(self) -> dict[str, float]:
        """Accuracy in the last evaluated round by group; a group without samples is absent."""
        return {str(k): float(v) for k, v in self.accuracy_by_round().iloc[-1].dropna().items()}

    def people(self) -> pd.DataFrame:
        """The last evaluation's rows: group, who, count, correct, accuracy."""
        last = self.evaluations[self.evaluations["round"] == self.last_round]
        return last.drop(columns="round").sort_values(["group", "who"], ignore_index=True)


def read_run(folder: RunFolder) -> Run:
    """Everything a run left behind, its dense reference included.

    Raises:
        FedTinyError: no run folder, or nothing was evaluated yet.
    """
    config, log = folder.load_config(), folder.recording()
    evaluations = log.of(Evaluated)
    if not evaluations or not log.of(ModelPrepared):
        raise FedTinyError(
            f"{folder.path} has no evaluated round yet: wait for the first, or resume the run"
        )
    exchanges, states = log.of(Exchanged), _states(log)
    return Run(
        folder=folder,
        config=config,
        start=_first(log, RunStarted, folder),
        pretrained=_first(log, Pretrained, folder),
        story=_first(log, ModelPrepared, folder).story,
        traffic=pd.DataFrame(_traffic(exchanges)),
        kinds=pd.DataFrame(
            _kinds(exchanges), columns=["phase", "round", "direction", "kind", "bytes"]
        ),
        failures=_failures(exchanges, log.of(Doubted)),
        evaluations=_evaluations(evaluations),
        confusion=_confusion(evaluations),
        rounds=pd.DataFrame(map(_scalars, states)),
        densities=pd.DataFrame(_densities(states)),
        adjustments=pd.DataFrame(
            _adjustments(log.of(Adjusted)), columns=["round", "layer", "exchanged"]
        ),
        ledger=_ledger(log),
        measured={one.partition: one.measured for one in log.of(DeviceDescribed) if one.measured},
        labels=_labels(folder, evaluations),
        export=_export(folder),
        dense=read_run(folder.dense_reference) if folder.dense_reference.metrics.exists() else None,
        notes=log.notes,
        stopped_after=next((one.round for one in log.of(Stopped)), None),
        clock=read_clock(log),
        tiers=tiers_summary(log),
        shapes=shapes_summary(log),
        adapting=adapting_summary(log, config),
        encoded=encoding_summary(log),
        modes=_modes(folder),
    )


def label_runs(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by a name for the legend: as little of name, method and seed as tells them apart.

    Raises:
        FedTinyError: a folder is given twice.
    """
    columns = [
        [run.config.name for run in runs],
        [run.story["method"] for run in runs],
        [f"seed {run.config.seed}" for run in runs],
    ]
    telling = [column for column in columns if len(set(column)) > 1]
    together = [", ".join(parts) for parts in zip(*telling, strict=True)]
    paths = [str(run.folder.path) for run in runs]
    for labels in (*columns, together, paths):
        if len(labels) == len(set(labels)) == len(runs):
            return dict(zip(labels, runs, strict=True))
    raise FedTinyError("a run is given twice; name each run folder once")


def _first(log: Recording, kind: type[E], folder: RunFolder) -> E:
    for event in log.of(kind):
        return event
    raise FedTinyError(f"{folder.metrics} has no {kind.__name__} event; run again")


def _traffic(exchanges: Sequence[Exchanged]) -> Iterator[dict[str, Any]]:
    for one in exchanges:
        for direction, traffic in (("up", one.up), ("down", one.down)):
            yield {
                "phase": one.phase.value,
                "round": one.round,
                "asked": one.asked,
                "answered": one.answered,
                "seconds": one.seconds,
                "direction": direction,
                "payload": traffic.payload,
                "wire": traffic.wire,
            }


def _kinds(exchanges: Sequence[Exchanged]) -> Iterator[tuple[str, int, str, str, int]]:
    for one in exchanges:
        for direction, traffic in (("up", one.up), ("down", one.down)):
            for kind, size in traffic.kinds.items():
                yield one.phase.value, one.round, direction, kind, size


def _failures(exchanges: Sequence[Exchanged], doubted: Sequence[Doubted]) -> list[ClientFailure]:
    found = [
        ClientFailure(one.phase, one.round, failure.partition, failure.reason)
        for one in exchanges
        for failure in one.failures
    ]
    found += [
        ClientFailure(one.phase, one.round, one.partition, f"left out: {one.reason}")
        for one in doubted
    ]
    return sorted(found, key=lambda one: one.round)


def _evaluations(events: Sequence[Evaluated]) -> pd.DataFrame:
    table = pd.DataFrame(
        [(one.round, one.group, one.who, one.count, one.correct) for one in events],
        columns=["round", "group", "who", "count", "correct"],
    )
    return table.assign(accuracy=table["correct"] / table["count"])


def _confusion(events: Sequence[Evaluated]) -> dict[str, list[list[int]]]:
    """Sums over people in the last evaluated round."""
    last = max(one.round for one in events)
    sums: dict[str, npt.NDArray[np.int64]] = {}
    for one in events:
        if one.round == last:
            confusion = np.array(one.confusion, np.int64)
            sums[one.group] = sums.get(one.group, np.zeros_like(confusion)) + confusion
    return {group: confusion.tolist() for group, confusion in sums.items()}


def _states(log: Recording) -> list[ModelState]:
    """The model after preparation and after every round."""
    return [*log.of(ModelPrepared), *log.of(RoundFinished)]


def _scalars(state: ModelState) -> dict[str, Any]:
    finished = state if isinstance(state, RoundFinished) else None
    return {
        "round": state.round,
        "loss": finished and finished.loss,
        "density": state.density,
        "density_all": state.density_all,
        "training_flops": state.training_flops,
        "seconds": finished and finished.seconds,
    }


def _densities(states: Sequence[ModelState]) -> Iterator[dict[str, Any]]:
    for one in states:
        for layer, density in one.densities.items():
            yield {"round": one.round, "layer": layer, "density": density}


def _adjustments(events: Sequence[Adjusted]) -> Iterator[tuple[int, str, int]]:
    for one in events:
        for layer, exchanged in one.exchanged.items():
            yield one.round, layer, exchanged


def _ledger(log: Recording) -> list[LedgerEntry]:
    """Each device's plan as it introduced itself, or that of its metered step."""
    described = [one.ledger for one in log.of(DeviceDescribed)]
    metered = [one.ledger for one in log.of(Metered)]
    entries = {entry.partition: entry for entry in (*described, *metered) if entry is not None}
    return [entries[partition] for partition in sorted(entries)]


def _labels(folder: RunFolder, evaluations: Sequence[Evaluated]) -> list[str]:
    if folder.model.exists():
        _, manifest = checkpoint.read(folder.model)
        return list(texts(folder.model, manifest, "labels"))
    return [str(k) for k in range(len(evaluations[0].confusion))]


def _modes(folder: RunFolder) -> Sequence[Mapping[str, Any]]:
    if not folder.modes.is_file():
        return ()
    found: list[dict[str, Any]] = read_json(folder.modes)
    return found


def _export(folder: RunFolder) -> Mapping[str, Any] | None:
    path = folder.path / "export.json"
    if not path.exists():
        return None
    export: Mapping[str, Any] = read_json(path)
    return export
