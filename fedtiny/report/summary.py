"""report.json: every number of a run that someone might quote, and nothing else."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from typing import Any

import pandas as pd

import fedtiny
from fedtiny.memory.ledger import LedgerEntry, MemoryPrediction
from fedtiny.report.clock import clock_summary
from fedtiny.report.metrics import Run
from fedtiny.report.words import GROUPS
from fedtiny.wire.phase import Phase

FLOAT_BYTES = 4
_LIBRARIES = ("numpy", "torch", "flwr", "ray")


def summarize(run: Run) -> dict[str, Any]:
    """The report as plain JSON types; a key whose step did not run is None.

    ``bytes`` counts all phases over the whole run; ``dense_equivalent`` is what sending every
    parameter and batch-norm statistic as float32 to (or from) each participant of each round
    costs. Accuracies are of the last evaluated round, over all its samples.
    """
    state = run.rounds.iloc[-1]
    timings = _timings(run)
    return {
        "name": run.config.name,
        "seed": run.config.seed,
        "method": run.story["method"],
        "engine": run.start.engine,
        "finished": run.finished,
        "rounds": run.last_round,
        "stopped_early": run.stopped_after is not None,
        "model": {
            "model": run.start.model,
            "parameters": run.start.parameters,
            "statistics": run.start.statistics,
        },
        "density": float(state["density"]),
        "density_all": float(state["density_all"]),
        "layer_density": _layer_density(run),
        "accuracy": {
            "float": _by_group(run.accuracy()),
            "int8": _by_group(run.export["int8"] if run.export else {}),
        },
        "dense_reference": _by_group(run.dense.accuracy() if run.dense else {}),
        "people": _people(run),
        "bytes": {direction: _bytes(run, direction) for direction in ("up", "down")},
        "phases": _phases(run),
        "departures": _departures(run),
        "ledger": [_ledger_row(entry) for entry in run.ledger],
        "measured": [
            {"partition": partition, **asdict(one)} for partition, one in run.measured.items()
        ],
        "selection": _selection(run),
        "flops_per_sample": {
            "training": int(state["training_flops"]),
            "training_dense": run.start.training_flops_dense,
        },
        "firmware": _firmware(run),
        "notes": list(run.notes),
        "failures": [asdict(failure) for failure in run.failures],
        "clock": clock_summary(run.clock, run.config),
        "tiers": run.tiers,
        "shapes": run.shapes,
        "race": run.story.get("race"),
        "adapting": run.adapting,
        "encoded": list(run.encoded),
        "modes": list(run.modes),
        "timings": timings,
        "seconds": sum(seconds for seconds in timings.values() if seconds is not None),
        "versions": versions(),
        "config": run.config.model_dump(mode="json"),
    }


def dense_equivalent_bytes(run: Run) -> int:
    """Participants × rounds × 4 B × (parameters + batch-norm running statistics)."""
    train = run.traffic[(run.traffic["phase"] == Phase.TRAIN) & (run.traffic["direction"] == "up")]
    values = run.start.parameters + run.start.statistics
    return int(train["asked"].sum()) * FLOAT_BYTES * values


def versions() -> dict[str, str | None]:
    """Versions on the machine that writes the report; None if not installed."""
    found: dict[str, str | None] = {
        "fedtiny": fedtiny.__version__,
        "python": platform.python_version(),
    }
    for name in _LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return found


def _by_group(accuracy: Mapping[str, float]) -> dict[str, float | None]:
    return {group: accuracy.get(group) for group in GROUPS}


def _people(run: Run) -> list[dict[str, Any]]:
    """Accuracy of each person, with the dense reference's beside it."""
    keys = ["group", "who"]
    people = run.people()
    if run.dense is None:
        people["dense_accuracy"] = None
    else:
        dense = run.dense.people()[[*keys, "accuracy"]]
        people = people.merge(dense.rename(columns={"accuracy": "dense_accuracy"}), "left", keys)
    return _records(people)


def _bytes(run: Run, direction: str) -> dict[str, Any]:
    sums = _direction(run, direction)[["payload", "wire"]].sum()
    wire = int(sums["wire"])
    equivalent = dense_equivalent_bytes(run)
    return {
        "payload": int(sums["payload"]),
        "wire": wire,
        "dense_equivalent": equivalent,
        "ratio": equivalent / wire if wire else None,
        "dense_reference_wire": (
            int(_direction(run.dense, direction)["wire"].sum()) if run.dense else None
        ),
    }


def _direction(run: Run, direction: str) -> pd.DataFrame:
    return run.traffic[run.traffic["direction"] == direction]


def _phases(run: Run) -> list[dict[str, Any]]:
    """Messages and bytes by phase and direction, in the order in which phases happened."""
    grouped = run.traffic.groupby(["phase", "direction"], sort=False)
    table = grouped[["asked", "answered", "payload", "wire"]].sum().reset_index()
    # A device that was asked got the message; one that failed did not answer it.
    up = table["direction"] == "up"
    table["messages"] = table["answered"].where(up, table["asked"])
    return _records(table.drop(columns=["asked", "answered"]))


def _departures(run: Run) -> list[dict[str, Any]]:
    """What devices sent: payload bytes by phase and kind, over the run and per device."""
    up = run.kinds[run.kinds["direction"] == "up"]
    table = up.groupby(["phase", "kind"], sort=False)["bytes"].sum().reset_index()
    table["bytes_per_device"] = table["bytes"] / run.config.data.partitions
    return _records(table)


def _ledger_row(entry: LedgerEntry) -> dict[str, Any]:
    dominating = MemoryPrediction(entry.lines).dominating_line
    return {
        **entry.to_json(),
        "dominating_line": dominating.value,
        "dominating_bytes": entry.lines[dominating],
    }


def _layer_density(run: Run) -> dict[str, float]:
    last = run.densities[run.densities["round"] == run.densities["round"].max()]
    return dict(zip(last["layer"], last["density"].tolist(), strict=True))


def _selection(run: Run) -> dict[str, Any] | None:
    """The candidate pool and its winner; None for a method without one."""
    story = run.story
    if "chosen" not in story:
        return None
    return {
        "selection": story["selection"],
        "scores": story["scores"],
        "chosen": story["chosen"],
        "losses": story["losses"],
        "densities": story["densities"],
        "pretraining_samples": run.pretrained.samples,
        "pretraining_epochs": run.pretrained.epochs,
    }


def _firmware(run: Run) -> dict[str, Any]:
    export = run.export or {}
    keys = ("vectors", "mismatches", "flash_bytes", "arena_bytes", "code_bytes", "layers")
    return {key: export.get(key) for key in keys}


def _timings(run: Run) -> dict[str, float | None]:
    """Measured seconds of the steps that ran."""
    return {
        "federation": _federation_seconds(run),
        "dense_reference": _federation_seconds(run.dense) if run.dense else None,
        "export": run.export.get("seconds") if run.export else None,
    }


def _federation_seconds(run: Run) -> float:
    """Pre-training, rounds (their exchanges included), and the exchanges before and after them."""
    exchanges = _direction(run, "up")
    outside = exchanges[(exchanges["round"] == 0) | exchanges["phase"].isin(_AFTER)]
    return float(run.pretrained.seconds + run.rounds["seconds"].sum() + outside["seconds"].sum())


_AFTER = (Phase.CALIBRATE, Phase.ADAPT, Phase.ENCODE)
"""Phases after the rounds."""


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Rows as plain Python types, missing values as None."""
    rows: Sequence[dict[str, Any]] = (
        table.astype(object).where(table.notna(), None).to_dict("records")
    )
    return [{k: v.item() if hasattr(v, "item") else v for k, v in row.items()} for row in rows]
