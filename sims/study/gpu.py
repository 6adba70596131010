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
from sims.progress import ProgressObserver
from sims.study import plan as sweep_plan
from sims.study.kinds import KindName
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
        FedTinyError: no round is left after the race, if there is one.
    """
    laps = job.config.method.laps
    if rounds <= laps:
        raise FedTinyError(
            f"{job.title} needs {laps + 1} rounds, there is time for {rounds}: raise --minutes"
        )
    update = {"rounds": rounds - laps, "evaluate_every": rounds - laps}
    federation = job.config.federation.model_copy(update=update)
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
    console, ends = Screen(stderr=True), time.monotonic() + 60 * minutes
    plan = sweep_plan.load(file)
    if plan.tuning or plan.rows is not KindName.STUDY:
        raise FedTinyError(f"{file}: remove tuning and rows: there is time for neither here")
    grid = sweep_plan.jobs(plan, file.parent)
    for job in grid:  # before minutes of work
        engine_for(job.config.training, density=job.density)
    path = out / plan.csv.name if out else ROOT / plan.csv
    try:
        found = _run_all(fitting(grid, ends, console), runs / plan.dataset, path, console)
    except KeyboardInterrupt:
        console.print(f"stopped; {path} has the runs that ended")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        print(json.dumps([asdict(row) for row in found], indent=1))


def fitting(grid: Sequence[Job], ends: float, console: Screen) -> list[Job]:
    """The jobs with as many rounds as can be done by ``ends`` (:func:`time.monotonic`)."""
    paces = []
    for job in grid:
        paces.append(pace(job))
        console.print(f"{job.title}: {paces[-1].round_s:.2f} s a round")
    asked = min(job.config.federation.rounds for job in grid)
    rounds = min(affordable_rounds(paces, ends - time.monotonic()), asked)
    console.print(f"{rounds} rounds fit")
    return [with_rounds(job, rounds) for job in grid]


def _run_all(jobs: Sequence[Job], runs: Path, path: Path, console: Screen) -> list[StudyRow]:
    """A row of each, in ``path`` as soon as the run ends, in place of an older one."""
    found: dict[tuple[str, str, float, int], StudyRow] = {}
    for job in jobs:
        row = run_job(job, runs, code_version(), [ProgressObserver(console, job.title)])
        assert isinstance(row, StudyRow)  # the sweep has no others
        found[row.key] = row
        others = [one for one in csv_rows.read(path, StudyRow) if one.key not in found]
        rows = sorted([*others, *found.values()], key=lambda one: one.key)
        csv_rows.write(path, StudyRow, rows)
        console.print(f"{job.title}: accuracy {100 * row.accuracy:.1f} %")
    return list(found.values())


if __name__ == "__main__":
    cli()
