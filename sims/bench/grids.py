"""Seconds per round on every backend: the same run, alternated, each in a fresh process.

``python -m sims.bench.grids --rounds 8 --repeats 2 [--json]``
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated

import typer

from fedtiny.command_line import CommandLine
from fedtiny.config import load
from fedtiny.runs.events import RoundFinished
from fedtiny.runs.folder import RunFolder
from fedtiny.settings import MOST
from sims.backends import Backend, run_federation
from sims.flower_run import APP

_CONFIG = APP / "sims/configs/demo.toml"

Result = dict[str, float]

cli = CommandLine()


def measure(backend: Backend, rounds: int) -> Result:
    """One run of the demo federation in a new process.

    Returns:
        Seconds: ``fastest_round_s`` and ``median_round_s`` (training, averaging and evaluation,
        from round 2 on: round 1 also meters memory), ``total_s`` with start-up and the end.
    """
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "sims.bench.grids", "--rounds", str(rounds)]
        started = time.monotonic()
        subprocess.run(
            [*command, "--one", backend, "--folder", folder],
            cwd=APP,
            check=True,
            stderr=subprocess.DEVNULL,
        )
        total = time.monotonic() - started
        seconds = [one.seconds for one in RunFolder(Path(folder)).events(RoundFinished)][1:]
    return {
        "fastest_round_s": round(min(seconds), 4),
        "median_round_s": round(median(seconds), 4),
        "total_s": round(total, 2),
    }


def table(runs: dict[Backend, list[Result]]) -> str:
    """One line a backend, every run's figures side by side."""
    lines = []
    fastest = {name: min(one["fastest_round_s"] for one in runs[name]) for name in runs}
    for backend, results in runs.items():
        figures = "   ".join(
            f"{key[:-2]} " + " ".join(f"{one[key]:.2f}" for one in results) for key in results[0]
        )
        ratio = fastest[backend] / fastest[Backend.INLINE]
        lines.append(f"{backend:8} {figures}   fastest round vs inline {ratio:.2f}x")
    return "\n".join(["seconds, one figure a run", *lines])


@cli.command()
def grids(
    rounds: Annotated[int, typer.Option(help="Federated rounds of each run.", min=2, max=MOST)] = 8,
    repeats: Annotated[
        int, typer.Option(help="How often the backends alternate.", min=1, max=MOST)
    ] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    one: Annotated[Backend | None, typer.Option(hidden=True)] = None,
    folder: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """Compare the backends on the demo federation, without its dense reference."""
    if one is not None and folder is not None:
        config = load(_CONFIG, [f"federation.rounds={rounds}", "dense_reference=false"])
        run_federation(config, RunFolder(folder), one)
        return
    runs: dict[Backend, list[Result]] = {backend: [] for backend in Backend}
    for _ in range(repeats):
        for backend in Backend:
            runs[backend].append(measure(backend, rounds))
    print(json.dumps({"rounds": rounds, "runs": runs}) if as_json else table(runs))


if __name__ == "__main__":
    cli()
