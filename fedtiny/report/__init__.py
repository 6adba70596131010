"""What a run achieved: report.json for machines, report.md and plots for people."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from fedtiny.errors import FedTinyError
from fedtiny.escaping.markdown import markdown_text
from fedtiny.report import rows as csv_rows
from fedtiny.report.fleet_study import FleetRow
from fedtiny.report.study import StudyRow
from fedtiny.report.terminal import headline
from fedtiny.report.tuning import sentence as tuning_sentence
from fedtiny.runs import atomic, identity
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.identity import Part

JSON_NAME = "report.json"
MARKDOWN_NAME = "report.md"


def write(folder: RunFolder, accept: Collection[Part] = ()) -> dict[str, Any]:
    """Write ``report.json``, ``report.md`` and ``plots/*.png`` with their CSV; the report.

    Everything is read from the folder: metrics, config, ``export.json`` if there is one, and the
    dense reference inside it.

    Args:
        folder: of the run.
        accept: what may differ from what the run was begun with, or left.

    Raises:
        IdentityError: config, model, shares or code are not those of the run.
        FedTinyError: no run folder, or nothing was evaluated yet.
    """
    # pandas and matplotlib come with the [report] extra; importing this package needs neither.
    from fedtiny.report.markdown import render  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional
    from fedtiny.report.metrics import read_run  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional
    from fedtiny.report.plots import plot_run  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional
    from fedtiny.report.summary import summarize  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional

    for one in (folder, folder.dense_reference):
        identity.verify(one, accept, identity.dealt(one))
    run = read_run(folder)
    report = summarize(run)
    captions = plot_run(run, folder.plots)
    atomic.write(folder.path / JSON_NAME, json.dumps(report, indent=2) + "\n")
    atomic.write(folder.path / MARKDOWN_NAME, render(report, captions, _location(folder.path)))
    return report


def overlay(folders: Sequence[RunFolder], out: Path) -> list[Path]:
    """Draw runs over each other into ``out``; the pictures' paths, their CSV lie beside them.

    Raises:
        FedTinyError: a folder is no run, has nothing evaluated yet, or is given twice.
    """
    from fedtiny.report.metrics import label_runs, read_run  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional
    from fedtiny.report.plots import plot_overlay  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional

    return plot_overlay(label_runs([read_run(folder) for folder in folders]), out)


def results_markdown(groups: Sequence[Sequence[RunFolder]]) -> str:
    """The results table of a README: one row per group of runs that differ only in their seed.

    Raises:
        FedTinyError: a folder is no run, or the runs of one group differ in more than the seed.
    """
    from fedtiny.report import aggregate  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional

    return aggregate.results_markdown(groups)


def study_report(csv: Path, out: Path, tuning: Path | None = None) -> list[Path]:
    """Tables and figures of a study into ``out``; the paths of what people open.

    ``study.md``, ``study.tex``, every figure with its CSV, and all of it in one ``report.html``.

    Args:
        csv: the study's rows.
        out: folder.
        tuning: CSV of the trials before it.

    Raises:
        FedTinyError: ``csv`` has no rows, or is malformed.
    """
    from fedtiny.report import html, study_tables  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional
    from fedtiny.report.plots.study import study_charts  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional

    rows = _study_rows(csv)
    charts = study_charts(rows)
    pictures = [chart.save(out) for chart in charts]
    notes = _study_notes(rows, tuning)
    page = html.page("FedTiny: study", study_tables.tables(rows), charts, notes, out)
    texts = {
        "report.html": page,
        "study.md": study_markdown(csv, tuning) + "\n",
        "study.tex": study_tables.latex(rows),
    }
    for name, text in texts.items():
        (out / name).write_text(text, encoding="utf-8")
    return [*(out / name for name in texts), *pictures]


def study_markdown(csv: Path, tuning: Path | None = None) -> str:
    """The tables of a study in Markdown; arguments and errors as :func:`study_report`."""
    from fedtiny.report import study_tables  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional

    rows = _study_rows(csv)
    return "\n\n".join(
        [study_tables.markdown(rows), *map(markdown_text, _study_notes(rows, tuning))]
    )


def fleet_report(csv: Path, out: Path) -> tuple[list[Path], str]:
    """Figures of the study of unequal devices into ``out``, and its tables in Markdown.

    Raises:
        FedTinyError: ``csv`` has no rows, or is malformed.
    """
    from fedtiny.report import fleet_tables  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional
    from fedtiny.report.plots.fleet import fleet_charts  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional

    rows = csv_rows.read(csv, FleetRow)
    if not rows:
        raise FedTinyError(f"{csv} has no rows: run make study-fleet")
    commits = ", ".join(sorted({row.commit for row in rows}))
    notes = markdown_text(f"{len(rows)} runs; code: {commits}.")
    tables = [table.markdown() for table in fleet_tables.tables(rows)]
    return [chart.save(out) for chart in fleet_charts(rows)], "\n\n".join([*tables, notes])


def _study_notes(rows: Sequence[StudyRow], tuning: Path | None) -> list[str]:
    """Which code made the rows, and how each method was tuned."""
    commits = ", ".join(sorted({row.commit for row in rows}))
    chosen = tuning_sentence(csv_rows.read(tuning, StudyRow)) if tuning else ""
    return [f"{len(rows)} runs; code: {commits}.", *([chosen] if chosen else [])]


def _study_rows(csv: Path) -> list[StudyRow]:
    rows = csv_rows.read(csv, StudyRow)
    if not rows:
        raise FedTinyError(
            f"{csv} has no rows: run python -m sims.study.sweep sims/configs/study.toml"
        )
    return rows


def _location(path: Path) -> str:
    """As one would type it from here, if the folder lies below; else its full path."""
    absolute, here = path.resolve(), Path.cwd().resolve()
    return os.fspath(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)


__all__ = [
    "fleet_report",
    "headline",
    "overlay",
    "results_markdown",
    "study_markdown",
    "study_report",
    "write",
]
