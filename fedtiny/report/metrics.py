"""A run folder's metrics.jsonl, config and export as tables: what report and plots read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fedtiny.config import RunConfig
from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.report.words import GROUPS
from fedtiny.runs import checkpoint
from fedtiny.runs.folder import RunFolder

Events = Mapping[str, Sequence[Mapping[str, Any]]]


@dataclass(frozen=True, eq=False)
class Run:
    """One run, read.

    Attributes:
        folder, config: of the run.
        start: cost of the model: ``parameters``, ``statistics``, ``training_flops_dense``.
        pretrained, story: what pre-training and the method's preparation reported.
        traffic: one row per exchange and direction: phase, round, direction, asked, answered,
            payload, wire (bytes), seconds.
        kinds: payload bytes by phase, round, direction, kind.
        failures: one per client that failed: phase, round, partition, reason.
        evaluations: one row per evaluated round and person: round, group, who, count, correct,
            accuracy in [0, 1].
        confusion: classes × classes counts of the last evaluation by group, rows are true.
        rounds: round (0 is before training), loss, density, density_all, training_flops, seconds.
        densities: round, layer, density.
        adjustments: round, layer, exchanged (weights grown = weights pruned).
        ledger: one entry per device with a budget, measured peak filled in where metered.
        labels: class names; class numbers while the run has no model yet.
        export: what the int8 export reported; None if there was none.
        dense: the dense reference; None if it was not run.
    """

    folder: RunFolder
    config: RunConfig
    start: Mapping[str, Any]
    pretrained: Mapping[str, Any]
    story: Mapping[str, Any]
    traffic: pd.DataFrame
    kinds: pd.DataFrame
    failures: Sequence[Mapping[str, Any]]
    evaluations: pd.DataFrame
    confusion: Mapping[str, Sequence[Sequence[int]]]
    rounds: pd.DataFrame
    densities: pd.DataFrame
    adjustments: pd.DataFrame
    ledger: Sequence[LedgerEntry]
    labels: Sequence[str]
    export: Mapping[str, Any] | None
    dense: Run | None

    @property
    def last_round(self) -> int:
        """Last evaluated round."""
        return int(self.evaluations["round"].max())

    @property
    def finished(self) -> bool:
        """Whether the last configured round was evaluated."""
        return self.last_round == self.config.federation.rounds

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
    config = folder.load_config()
    events = _by_kind(folder)
    if not events.get("evaluation") or not events.get("prepared"):
        raise FedTinyError(
            f"{folder.path} has no evaluated round yet: wait for the first, or resume the run"
        )
    return Run(
        folder=folder,
        config=config,
        start=events["start"][0],
        pretrained=events["pretrained"][0],
        story=events["prepared"][0]["story"],
        traffic=pd.DataFrame(_traffic(events)),
        kinds=pd.DataFrame(
            _kinds(events), columns=["phase", "round", "direction", "kind", "bytes"]
        ),
        failures=list(_failures(events)),
        evaluations=_evaluations(events),
        confusion=_confusion(events),
        rounds=pd.DataFrame(map(_scalars, _states(events))),
        densities=pd.DataFrame(_densities(events)),
        adjustments=pd.DataFrame(_adjustments(events), columns=["round", "layer", "exchanged"]),
        ledger=_ledger(events),
        labels=_labels(folder, events),
        export=_export(folder),
        dense=read_run(folder.dense_reference) if folder.dense_reference.metrics.exists() else None,
    )


def label_runs(runs: Sequence[Run]) -> dict[str, Run]:
    """Runs by a name for the legend: as little of name, method and seed as tells them apart.

    Raises:
        FedTinyError: a folder is given twice.
    """
    columns = [
        [run.config.name for run in runs],
        [str(run.story["method"]) for run in runs],
        [f"seed {run.config.seed}" for run in runs],
    ]
    telling = [column for column in columns if len(set(column)) > 1]
    together = [", ".join(parts) for parts in zip(*telling, strict=True)]
    paths = [str(run.folder.path) for run in runs]
    for labels in (*columns, together, paths):
        if len(labels) == len(set(labels)) == len(runs):
            return dict(zip(labels, runs, strict=True))
    raise FedTinyError("a run is given twice; name each run folder once")


def _by_kind(folder: RunFolder) -> Events:
    events: dict[str, list[Mapping[str, Any]]] = {}
    for event in folder.events():
        events.setdefault(event["event"], []).append(event)
    return events


def _traffic(events: Events) -> Iterator[dict[str, Any]]:
    for one in events["exchange"]:
        shared = {key: one[key] for key in ("phase", "round", "asked", "answered", "seconds")}
        for direction in ("up", "down"):
            sizes = {key: one[direction][key] for key in ("payload", "wire")}
            yield {**shared, "direction": direction, **sizes}


def _kinds(events: Events) -> Iterator[dict[str, Any]]:
    for one in events["exchange"]:
        for direction in ("up", "down"):
            for kind, size in one[direction]["kinds"].items():
                where = {"phase": one["phase"], "round": one["round"], "direction": direction}
                yield {**where, "kind": kind, "bytes": size}


def _failures(events: Events) -> Iterator[dict[str, Any]]:
    for one in events["exchange"]:
        for failure in one["failures"]:
            yield {"phase": one["phase"], "round": one["round"], **failure}


def _evaluations(events: Events) -> pd.DataFrame:
    columns = ["round", "group", "who", "count", "correct"]
    table = pd.DataFrame(events["evaluation"], columns=columns)
    return table.assign(accuracy=table["correct"] / table["count"])


def _confusion(events: Events) -> dict[str, list[list[int]]]:
    """Sums over people in the last evaluated round."""
    last = max(one["round"] for one in events["evaluation"])
    sums: dict[str, list[list[int]]] = {}
    for one in events["evaluation"]:
        if one["round"] == last:
            old = sums.get(one["group"]) or [[0] * len(row) for row in one["confusion"]]
            sums[one["group"]] = [
                [a + b for a, b in zip(*rows, strict=True)]
                for rows in zip(old, one["confusion"], strict=True)
            ]
    return sums


def _states(events: Events) -> list[Mapping[str, Any]]:
    """The model's density after preparation and after every round."""
    return [*events["prepared"], *events.get("round", ())]


def _scalars(event: Mapping[str, Any]) -> dict[str, Any]:
    keys = ("round", "loss", "density", "density_all", "training_flops", "seconds")
    return {key: event.get(key) for key in keys}


def _densities(events: Events) -> Iterator[dict[str, Any]]:
    for one in _states(events):
        for layer, density in one["densities"].items():
            yield {"round": one["round"], "layer": layer, "density": density}


def _adjustments(events: Events) -> Iterator[dict[str, Any]]:
    for one in events.get("adjusted", ()):
        for layer, exchanged in one["exchanged"].items():
            yield {"round": one["round"], "layer": layer, "exchanged": exchanged}


def _ledger(events: Events) -> list[LedgerEntry]:
    """Each device's plan as it introduced itself, or that of its metered step."""
    rows = [one["ledger"] for one in (*events["device"], *events.get("metered", ()))]
    entries = {row["partition"]: LedgerEntry.from_json(row) for row in rows if row}
    return [entries[partition] for partition in sorted(entries)]


def _labels(folder: RunFolder, events: Events) -> list[str]:
    if folder.model.exists():
        _, manifest = checkpoint.read(folder.model)
        return list(manifest["labels"])
    return [str(k) for k in range(len(events["evaluation"][0]["confusion"]))]


def _export(folder: RunFolder) -> Mapping[str, Any] | None:
    path = folder.path / "export.json"
    if not path.exists():
        return None
    export: Mapping[str, Any] = json.loads(path.read_text())
    return export
