"""``python -m sims.bench.peers``: docs/results/peers.md, its plot and its CSV."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.bench.peer_cases import CASES, PEERS, Work
from fedtiny.bench.peers import REPEATS, PeerRow, Skipped, bench_peers
from fedtiny.bench.table import processor
from fedtiny.command_line import CommandLine
from fedtiny.escaping.terminal import Screen
from fedtiny.report.blocks import replace_block
from fedtiny.settings import MOST
from sims.code_version import code_version
from sims.flower_run import APP

PAGE = APP / "docs/results/peers.md"
BEGIN, END = "<!-- bench-peers -->", "<!-- /bench-peers -->"

cli = CommandLine()


def markdown(found: Sequence[PeerRow | Skipped], repeats: int) -> str:
    """The table, and under it what it was measured on and who is missing."""
    lines = [
        "| work | density | threads | beside | its step | our step | faster | its memory | ours |",
        "|---|--:|--:|---|--:|--:|--:|--:|--:|",
    ]
    for row in found:
        if isinstance(row, PeerRow):
            lines.append(
                f"| {CASES[Work(row.work)].title} | {row.density:.0%} | {row.threads} "
                f"| {PEERS[row.peer].title} | {row.ms_peer:.2f} ms | {row.ms_ours:.2f} ms "
                f"| **{row.speedup:.2f}×** | {_mb(row.peak_bytes_peer)} "
                f"| {_mb(row.peak_bytes_ours)} |"
            )
    missing = [
        f"- {PEERS[row.peer].title}, {CASES[Work(row.work)].title}: {row.reason}."
        for row in found
        if isinstance(row, Skipped)
    ]
    below = (
        f"Medians of {repeats} whole steps (batch copy, forward, loss, backward, SGD with "
        f"momentum) in turn in one process on {processor()}; memory: how far a process of its own "
        f"grows, measured by the system. Code: {code_version()}."
    )
    return "\n".join([*lines, "", below, "", "Not measured:", "", *missing, "", "![](peers.png)"])


def _mb(nbytes: int) -> str:
    return f"{nbytes / 1e6:.1f} MB"


@cli.command()
def peers(
    work: Annotated[list[Work] | None, typer.Option(help="Default: all of them.")] = None,
    repeats: Annotated[int, typer.Option(help="Timed steps of each.", min=1, max=MOST)] = REPEATS,
    page: Annotated[
        Path, typer.Option(help="File whose table is rewritten; plot and CSV go beside it.")
    ] = PAGE,
) -> None:
    """Measure every peer, then rewrite the table, the plot and the CSV."""
    from fedtiny.report.plots.style import style  # noqa: PLC0415 - matplotlib is optional
    from sims.bench.peers_plot import peers_chart  # noqa: PLC0415 - matplotlib is optional

    text = page.read_text(encoding="utf-8")
    replace_block(text, BEGIN, END, "")  # before minutes of work
    found = list(bench_peers(work or tuple(Work), repeats, Screen(stderr=True).print))
    page.write_text(replace_block(text, BEGIN, END, markdown(found, repeats)), encoding="utf-8")
    rows = [row for row in found if isinstance(row, PeerRow)]
    with style():
        peers_chart(rows, code_version()).save(page.parent)


if __name__ == "__main__":
    cli()
