"""``python -m sims.study.gpu``: a sweep on one GPU, of as many rounds as fit some minutes."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.command_line import CommandLine
from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen
from fedtiny.report import rows as csv_rows
from fedtiny.report.study import StudyRow
from fedtiny.runs.events import RoundFinished
from fedtiny.runs.folder import RunFolder
from fedtiny.settings import MOST
from fedtiny.training.choice import engine_for
from fedtiny.user_errors import INTERRUPTED
from sims.backends import Backend, run_federation
from sims.code_version import code_version
from sims.study import plan as sweep_plan
from sims.study.plan import Job
from sims.study.sweep import run_job

ROOT = Path(__file__).resolve().parents[2]
SWEEP = ROOT / "sims/configs/study_gpu.toml"

PROBED = 3
"""Rounds of a run whose time is taken; the first is not counted: it compiles and allocates."""

cli = CommandLine()


@dataclass(frozen=True, slots=True)
class Pace:
    """What a job takes.

    Attributes:
        start_s: all but the rounds: reading, pre-training, choosing, the last evaluation.
        round_s: of one round of training.
    """

    start_s: float
    round_s: float


def affordable_rounds(paces: Sequence[Pace], seconds: float) -> int:
    """Rounds that all jobs can have, the same for each, one job after the other; may be 0.

    >>> affordable_rounds([Pace(20.0, 1.0), Pace(30.0, 2.0)], 350.0)
    100
    """
    left = seconds - sum(pace.start_s for pace in paces)
    return max(0, int(left / sum(pace.round_s for pace in paces)))


def with_rounds(job: Job, rounds: int) -> Job:
    """A job of so many rounds, the laps of a race among them, evaluated at its end.

    Raises:
        FedTinyError: a race takes all of them.
    """
    left = rounds - job.config.method.laps
    if left < 1:
        raise FedTinyError(
            f"{job.title}: its race takes {job.config.method.laps} rounds, there is time for "
            f"{rounds}: raise --minutes"
        )
    federation = job.config.federation.model_copy(update={"rounds": left, "evaluate_every": left})
    return replace(job, config=job.config.model_copy(update={"federation": federation}))


def pace(job: Job) -> Pace:
    """Time a short run of a job."""
    short = with_rounds(job, PROBED + job.config.method.laps)
    with tempfile.TemporaryDirectory() as folder:
        begun, run = time.monotonic(), RunFolder(Path(folder) / "probe")
        run_federation(short.config, run, Backend.INLINE)
        whole = time.monotonic() - begun
        seconds = [one.seconds for one in run.recording().of(RoundFinished)]
    return Pace(whole - sum(seconds), sum(seconds[1:]) / len(seconds[1:]))


@cli.command()
def gpu(
    file: Annotated[Path, typer.Argument(help="Sweep file without tuning.")] = SWEEP,
    minutes: Annotated[
        float, typer.Option(help="For all runs together.", min=0.01, max=MOST)
    ] = 25.0,
    runs: Annotated[Path, typer.Option(help="Folder of the run folders.")] = Path("runs/gpu"),
    out: Annotated[
        Path | None, typer.Option(help="Folder of the CSV; default: that the file names.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Time three rounds of every method, then run all of them for as many as the minutes allow."""
    console, begun = Screen(stderr=True), time.monotonic()
    plan = sweep_plan.load(file)
    if plan.tuning:
        raise FedTinyError(f"{file} has a tuning, for which there is no time here: remove it")
    grid = sweep_plan.jobs(plan, file.parent)
    for job in grid:  # before minutes of work
        engine_for(job.config.training, density=job.density)
    path = out / plan.csv.name if out else ROOT / plan.csv
    rows = [row for row in csv_rows.read(path, StudyRow) if row.key not in {j.key for j in grid}]
    try:
        paces = []
        for job in grid:
            paces.append(pace(job))
            console.print(f"{job.title}: {paces[-1].round_s:.2f} s a round")
        left = 60 * minutes - (time.monotonic() - begun)
        rounds = min(affordable_rounds(paces, left), *(j.config.federation.rounds for j in grid))
        console.print(f"{rounds} rounds fit")
        jobs = [with_rounds(job, rounds) for job in grid]
        for job in jobs:
            row = run_job(job, runs / plan.dataset, code_version())
            assert isinstance(row, StudyRow)
            rows.append(row)
            csv_rows.write(path, StudyRow, sorted(rows, key=lambda one: one.key))
            console.print(f"{job.title}: accuracy {100 * row.accuracy:.1f} %")
    except KeyboardInterrupt:
        console.print(f"stopped; {path} has the runs that ended")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        keys = {job.key for job in grid}
        print(json.dumps([asdict(row) for row in rows if row.key in keys], indent=1))


if __name__ == "__main__":
    cli()
