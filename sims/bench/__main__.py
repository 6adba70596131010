"""``python -m sims.bench [--json]``: client tasks a second on every engine, beside a plain loop.

Rewrites docs/results/simulator.csv, the table in docs/results/simulator.md and its plot. The
engines take turns, each in a fresh process that runs a plain loop after every batch.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from fedtiny.command_line import CommandLine
from fedtiny.escaping.terminal import Screen
from fedtiny.report.blocks import replace_block
from fedtiny.settings import MOST
from sims.backends import Backend
from sims.bench.simulator import PLAIN, WORK_MS, Row, cases, rows, turn, write_csv
from sims.bench.work import hashes_per_ms
from sims.flower_run import APP

PAGE = APP / "docs/results/simulator.md"
BEGIN, END = "<!-- simulator -->", "<!-- /simulator -->"
_ORDER = (Backend.INLINE, Backend.RAY, Backend.FLOWER)

cli = CommandLine()


def markdown(found: Sequence[Row], repeats: int, load: float) -> str:
    """The table, and under it what it was measured on."""
    few = {(one.backend, one.work_ms): one for one in found}
    lines = [
        "| work of a task | " + " | ".join(f"{name}" for name in (*_ORDER, PLAIN)) + " |",
        "|---|" + "--:|" * (len(_ORDER) + 1),
    ]
    for ms in WORK_MS:
        cells = [_cell(few.get((name, ms))) for name in (*_ORDER, PLAIN)]
        lines.append(f"| {ms:g} ms | " + " | ".join(cells) + " |")
    crowd = {one.backend: one for one in found if not one.work_ms}
    held = ", ".join(f"{name} {one.driver_rss_bytes / 1e6:.0f} MB" for name, one in crowd.items())
    return "\n".join(
        [
            *lines,
            "",
            f"Tasks a second, and in brackets the time over that of a plain loop; medians of "
            f"{repeats} turns on {os.cpu_count()} cores, commit {found[0].commit}. Load average of "
            f"the machine before the first turn: {load:.1f}. Resident in the driver after each of "
            f"{found[0].clients:,} clients was asked twice: {held}.",
            "",
            "![](simulator.png)",
        ]
    )


def _cell(row: Row | None) -> str:
    if row is None:
        return "–"
    ratio = "" if row.ratio_to_plain_loop is None else f" ({row.ratio_to_plain_loop:.2f})"
    return f"{row.tasks_per_second:,.{0 if row.tasks_per_second >= 20 else 1}f}{ratio}"


def draw(found: Sequence[Row], path: Path) -> None:
    """Tasks a second by work, both logarithmic; no work is drawn at 0.5 ms."""
    import matplotlib.pyplot as plt  # noqa: PLC0415 - slow to import

    from fedtiny.report.plots.style import style  # noqa: PLC0415 - matplotlib is optional

    with style():
        figure, axes = plt.subplots(figsize=(6.4, 3.6))
        for name in (*_ORDER, PLAIN):
            mine = [one for one in found if one.backend == name]
            x = [one.work_ms or 0.5 for one in mine]
            y = [one.tasks_per_second for one in mine]
            axes.plot(x, y, marker="o", label=name.replace("_", " "))
        axes.set(xscale="log", yscale="log", xlabel="work of a task", ylabel="client tasks / s")
        axes.set_xticks([0.5, 5, 50, 500], ["none", "5 ms", "50 ms", "500 ms"])
        axes.set_yticks([1, 10, 100, 1000], ["1", "10", "100", "1,000"])  # free text has no "$"
        axes.legend()
        figure.tight_layout()
        figure.savefig(path)
        plt.close(figure)


@cli.command()
def bench(
    repeats: Annotated[int, typer.Option(help="Turns of each engine.", min=1, max=MOST)] = 3,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
    page: Annotated[Path, typer.Option(help="Whose table is rewritten; CSV, plot beside.")] = PAGE,
) -> None:
    """Measure every engine, then rewrite the table, the plot and the CSV."""
    console = Screen(stderr=True)
    text = replace_block(page.read_text(encoding="utf-8"), BEGIN, END, "")  # before the work
    load, cores = os.getloadavg()[0], len(os.sched_getaffinity(0))
    asked = cases(hashes_per_ms())
    turns: dict[Backend, list[list[dict[str, Any]]]] = {name: [] for name in _ORDER}
    for repeat in range(repeats):
        for backend in _ORDER:
            turns[backend].append(turn(backend, asked, cores))
            console.say(f"turn {repeat + 1} of {repeats}: {backend}")
    found = rows(turns)
    write_csv(page.with_suffix(".csv"), found)
    text = replace_block(text, BEGIN, END, markdown(found, repeats, load))
    page.write_text(text, encoding="utf-8")
    draw(found, page.with_suffix(".png"))
    print(json.dumps([asdict(one) for one in found]) if as_json else text)


if __name__ == "__main__":
    cli()
