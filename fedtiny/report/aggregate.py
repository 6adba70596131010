"""Runs that differ only in their seed, as mean ± sample standard deviation."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from fedtiny.errors import FedTinyError
from fedtiny.escaping.markdown import Markdown, markdown_code, markdown_text
from fedtiny.report.metrics import read_run
from fedtiny.report.summary import summarize
from fedtiny.report.tables import NOT_RUN, markdown_table, subtract
from fedtiny.report.words import GROUPS
from fedtiny.runs.folder import RunFolder

COLUMNS = (
    "density",
    *(f"{kind}_{group}" for kind in ("float", "int8", "dense", "gap") for group in GROUPS),
    "uplink_ratio",
    "flash_bytes",
    "arena_bytes",
)
"""What is aggregated. ``gap_*`` is float − dense of the same seed; fractions, not percent."""

_HEADERS = (
    "run",
    "seeds",
    "density",
    "same people",
    "unseen people",
    "dense reference, same / unseen",
    "gap, same / unseen",
    "int8, same / unseen",
    "uplink ratio (wire)",
    "flash",
)


def tabulate(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """One row per run: ``config`` (its key, seed and name left out), name, model, seed, COLUMNS."""
    return pd.DataFrame(_row(summarize(read_run(folder))) for folder in folders)


def aggregate(folders: Sequence[RunFolder]) -> pd.DataFrame:
    """One row per config: name, model, seeds, and ``{column}_mean`` and ``{column}_sd`` of COLUMNS.

    The standard deviation is the sample's (n − 1); NaN for a single seed. What did not run in
    every run of a config is NaN too: a mean over some of the seeds would be of other runs.

    Raises:
        FedTinyError: a folder is no run, or two runs share config and seed.
    """
    rows = []
    for _, runs in tabulate(folders).groupby("config", sort=False):
        seeds = sorted(runs["seed"].tolist())
        if len(set(seeds)) < len(seeds):
            raise FedTinyError(
                f"runs of {runs['name'].iloc[0]!r} share a seed ({seeds}): give each seed once"
            )
        values = runs[list(COLUMNS)].astype(float)
        means = values.mean(skipna=False).add_suffix("_mean")
        deviations = values.std(skipna=False).add_suffix("_sd")
        rows.append(
            {
                "name": runs["name"].iloc[0],
                "model": runs["model"].iloc[0],
                "seeds": tuple(seeds),
                **means,
                **deviations,
            }
        )
    return pd.DataFrame(rows)


def results_markdown(groups: Sequence[Sequence[RunFolder]]) -> str:
    """The results table in Markdown: one row per group of runs that differ only in their seed.

    Accuracies in percent, gaps (float − dense, seed by seed) in points, mean ± sd.

    Raises:
        FedTinyError: as :func:`aggregate`, or the runs of one group differ in more than the seed.
    """
    rows = []
    for folders in groups:
        table = aggregate(folders)
        if len(table) != 1:
            names = ", ".join(str(folder.path) for folder in folders)
            raise FedTinyError(f"{names} differ in more than their seed; group runs by config")
        rows.append(_cells(table.iloc[0]))
    return markdown_table(_HEADERS, rows)


def _row(report: Mapping[str, Any]) -> dict[str, Any]:
    config = {k: v for k, v in report["config"].items() if k not in ("seed", "name")}
    exact, int8, dense = (
        report["accuracy"]["float"],
        report["accuracy"]["int8"],
        report["dense_reference"],
    )
    row = {
        "config": json.dumps(config, sort_keys=True),
        "name": report["name"],
        "model": report["model"]["model"],
        "seed": report["seed"],
        "density": report["density"],
        "uplink_ratio": report["bytes"]["up"]["ratio"],
        "flash_bytes": report["firmware"]["flash_bytes"],
        "arena_bytes": report["firmware"]["arena_bytes"],
    }
    for group in GROUPS:
        row |= {f"float_{group}": exact[group], f"int8_{group}": int8[group]}
        row |= {f"dense_{group}": dense[group]}
        row |= {f"gap_{group}": subtract(exact[group], dense[group])}
    return row


def _cells(row: pd.Series[Any]) -> list[str]:
    def pair(kind: str, sign: str = "") -> str:
        return " / ".join(_spread(row, f"{kind}_{group}", 100, sign) for group in GROUPS)

    return [
        Markdown(f"{markdown_text(row['name'])} ({markdown_code(row['model'])})"),
        ", ".join(map(str, row["seeds"])),
        f"{100 * row['density_mean']:.1f} %",
        _spread(row, "float_same_people", 100),
        _spread(row, "float_unseen_people", 100),
        pair("dense"),
        pair("gap", "+"),
        pair("int8"),
        _times(row["uplink_ratio_mean"]),
        _kibibytes(row["flash_bytes_mean"]),
    ]


def _spread(row: pd.Series[Any], column: str, scale: float = 1, sign: str = "") -> str:
    """``mean ± sd``; without ± for one seed."""
    mean, deviation = scale * row[f"{column}_mean"], scale * row[f"{column}_sd"]
    if pd.isna(mean):
        return NOT_RUN
    text = f"{mean:{sign}.1f}"
    return text if pd.isna(deviation) else f"{text} ± {deviation:.1f}"


def _times(factor: float) -> str:
    return NOT_RUN if pd.isna(factor) else f"{factor:.1f}×"


def _kibibytes(size: float) -> str:
    return NOT_RUN if pd.isna(size) else f"{size / 1024:.1f} KiB"
