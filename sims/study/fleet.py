"""``python -m sims.study.fleet``: the figures and the page of the study of unequal devices."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedtiny.command_line import CommandLine
from fedtiny.report import fleet_report
from fedtiny.report.blocks import replace_block

BEGIN, END = "<!-- fleet: made by `make study-fleet` -->", "<!-- /fleet -->"

cli = CommandLine()


@cli.command()
def fleet(
    csv: Annotated[Path, typer.Option(help="The study's rows.")] = Path("docs/results/fleet.csv"),
    page: Annotated[Path, typer.Option(help="File whose tables are rewritten.")] = Path(
        "docs/results/fleet.md"
    ),
) -> None:
    """Draw the study next to its rows and rewrite its page's tables."""
    pictures, tables = fleet_report(csv, csv.parent)
    page.write_text(
        replace_block(page.read_text(encoding="utf-8"), BEGIN, END, tables), encoding="utf-8"
    )
    print("\n".join(map(str, [page, *pictures])))


if __name__ == "__main__":
    cli()
