"""``python -m sims.study.plot RUN… | --study CSV [--out DIR]``: runs in one picture, or a study."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.command_line import CommandLine
from fedtiny.errors import FedTinyError
from fedtiny.report import overlay, study_markdown, study_report
from fedtiny.report.blocks import replace_block
from fedtiny.runs.folder import RunFolder

BEGIN, END = "<!-- study: made by `make study` -->", "<!-- /study -->"


cli = CommandLine()


@cli.command()
def plot(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(help="run folders, e.g. runs/demo runs/demo/dense_reference"),
    ] = None,
    study: Annotated[Path | None, typer.Option(help="a study's CSV instead of runs")] = None,
    tuning: Annotated[Path | None, typer.Option(help="with --study: the CSV of its trials")] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="folder of the pictures and their CSV; default: plots, or CSV's name"),
    ] = None,
    page: Annotated[
        Path | None, typer.Option(help="with --study: also rewrite the tables in this file")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print the paths as JSON")] = False,
) -> None:
    """Overlay runs (accuracy by round and by bytes, layer densities), or draw a study.

    A study gives accuracy by density, against bytes, FLOPs and memory, its tables in Markdown and
    LaTeX, and all of it in one report.html.
    """
    if study is not None:
        paths = study_report(study, out or study.with_suffix(""), tuning)
        if page is not None:
            table = study_markdown(study, tuning)
            page.write_text(
                replace_block(page.read_text(encoding="utf-8"), BEGIN, END, table), encoding="utf-8"
            )
    elif runs:
        paths = overlay([RunFolder(path) for path in runs], out or Path("plots"))
    else:
        raise FedTinyError("name run folders, or a study's CSV with --study")
    print(json.dumps([str(path) for path in paths]) if as_json else "\n".join(map(str, paths)))


if __name__ == "__main__":
    cli()
