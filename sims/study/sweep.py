"""``python -m sims.study.sweep FILE``: a study's runs in one process pool, one CSV row each."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.text import Text

from fedtiny.command_line import CommandLine
from fedtiny.config import RunConfig
from fedtiny.data.simulated import source_digest
from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen, terminal_text
from fedtiny.option_types import MOST_PROCESSES
from fedtiny.report import rows as csv_rows
from fedtiny.report.study import StudyRow, short_digest
from fedtiny.runs import lock
from fedtiny.runs.folder import LOCK, RunFolder
from fedtiny.runs.identity import IdentityError, Part
from fedtiny.user_errors import INTERRUPTED
from sims.backends import Backend, run_federation
from sims.code_version import code_version
from sims.pipeline import preflight
from sims.study import plan as sweep_plan
from sims.study.kinds import KINDS, RunRow
from sims.study.plan import Job
from strategies.observer import Observer

_ROOT = Path(__file__).resolve().parents[2]

Task = Callable[[Job], RunRow]

cli = CommandLine()


@cli.command()
def sweep(
    file: Annotated[Path, typer.Argument(help="Sweep file, e.g. sims/configs/study.toml.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder of the CSVs; default: those the file names.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=0, max=MOST_PROCESSES, help="Processes; 0: one per core.")
    ] = 0,
    runs: Annotated[Path, typer.Option(help="Folder of the run folders.")] = Path("runs/study"),
    fresh: Annotated[
        bool, typer.Option("--fresh", help="Drop this sweep's rows first and run all of it.")
    ] = False,
    accept: Annotated[
        list[Part] | None,
        typer.Option(help="Add rows although those there are of other code or data; repeat."),
    ] = None,
    dry_run: Annotated[bool, typer.Option(help="Check every run, run nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the rows as JSON.")] = False,
) -> None:
    """Tune, then run what the CSV has no row of yet; rows are on disk as soon as a run ends."""
    console = Screen(stderr=True)
    try:
        plan = sweep_plan.load(file)
        trials, grid = sweep_plan.trials(plan, file.parent), sweep_plan.jobs(plan, file.parent)
        _check([*trials, *grid])
        path, place = _csv(plan.csv, out), _Place(runs / plan.dataset, workers, tuple(accept or ()))
        if plan.tuning and not dry_run:
            table = _csv(plan.tuning.csv, out)
            failures = _sweep("trials", trials, table, place, fresh, console)
            found = csv_rows.read(table, StudyRow)
            if unended := sweep_plan.untried(plan, trials, found):
                raise FedTinyError(f"no trial of {', '.join(unended)} ended: {'; '.join(failures)}")
            tuned = sweep_plan.choose(trials, found)
            grid = sweep_plan.jobs(plan, file.parent, tuned)
        if not dry_run and (failures := _sweep("runs", grid, path, place, fresh, console)):
            raise FedTinyError("; ".join(failures))
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on with what is missing")
        raise typer.Exit(INTERRUPTED) from None
    if as_json:
        keys = {job.key for job in grid}
        rows = csv_rows.read(path, KINDS[plan.rows].row)
        print(json.dumps([asdict(row) for row in rows if row.key in keys], indent=1))


def _csv(path: Path, out: Path | None) -> Path:
    return out / path.name if out else _ROOT / path


def _check(grid: Sequence[Job]) -> None:
    """Whatever would fail in one seed is found before the first run."""
    checked = set()
    for job in grid:
        if (job.method, job.density) in checked:
            continue
        checked.add((job.method, job.density))
        try:
            preflight(job.config)
        except FedTinyError as error:
            raise FedTinyError(f"{job.title}: {error}") from error


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a sweep runs.

    Attributes:
        folder: of its run folders.
        workers: processes; 0 for one per core.
        accept: what may differ between its rows.
    """

    folder: Path
    workers: int
    accept: tuple[Part, ...]


def _sweep(
    what: str, grid: Sequence[Job], path: Path, place: _Place, fresh: bool, console: Screen
) -> list[str]:
    """Run what ``path`` lacks of ``grid``; a sentence for every run that failed."""
    dropped, kind = {job.key for job in grid} if fresh else set(), KINDS[grid[0].rows].row
    with _sole_writer(path), _sole_runner(place.folder):
        rows = [row for row in csv_rows.read(path, kind) if row.key not in dropped]
        pending = _pending(what, grid, rows, console)
        if not pending:
            return []
        _check_same(grid, rows, path, place.accept)
        csv_rows.write(path, kind, rows)
        workers = min(place.workers or len(os.sched_getaffinity(0)), len(pending))
        task = partial(run_job, folder=place.folder, commit=code_version())
        failures = run_all(pending, task, _pool(workers), path, console)
        # Runs end in any order; the file does not depend on it.
        csv_rows.write(path, kind, sorted(csv_rows.read(path, kind), key=lambda row: row.key))
    return failures


def _pending(what: str, grid: Sequence[Job], rows: Sequence[RunRow], console: Screen) -> list[Job]:
    done = {row.key for row in rows}
    pending = [job for job in grid if job.key not in done]
    console.print(f"{len(grid)} {what}, {len(grid) - len(pending)} of them done")
    return pending


def _check_same(
    grid: Sequence[Job], rows: Sequence[RunRow], path: Path, accept: Collection[Part]
) -> None:
    """Rows that are there must be of this code and these samples, or be accepted.

    Raises:
        IdentityError: they are not.
    """
    there = {row.key: row for row in rows}
    done = [(job, there[job.key]) for job in grid if job.key in there]
    others = {row.commit for _, row in done} - {code_version()}
    if others and Part.CODE not in accept:
        raise IdentityError(
            f"{path} has rows of other code ({', '.join(sorted(others))}): --fresh runs all of "
            f"them again, --accept {Part.CODE} lets new ones stand beside them"
        )
    moved = [job.title for job, row in done if row.data and row.data != _data(job.config)]
    if moved and Part.DATA not in accept:
        raise IdentityError(
            f"{path} has rows of other samples than there are now ({moved[0]} and "
            f"{len(moved) - 1} more): --fresh runs all of them again, --accept {Part.DATA} lets "
            "new ones stand beside them"
        )


def _data(config: RunConfig) -> str:
    return short_digest(source_digest(config.data, config.seed))


@contextmanager
def _sole_runner(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True)
    with lock.hold(folder / LOCK, str(folder), "a sweep"):
        yield


@contextmanager
def _sole_writer(path: Path) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        _lock(folder, path)
        yield
    finally:
        os.close(folder)


def _lock(folder: int, path: Path) -> None:
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise FedTinyError(
            f"another sweep is writing to {path.parent}: wait for it, or give --out"
        ) from error


def _pool(workers: int) -> Executor:
    """Processes of one thread each: every core has its own run."""
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[name] = "1"  # read when a worker imports NumPy
    # Spawned, not forked: torch and Flower may have threads by now.
    return ProcessPoolExecutor(workers, get_context("spawn"), _initialize)


def _initialize() -> None:
    """A worker ends quietly on Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def run_job(job: Job, folder: Path, commit: str, observers: Sequence[Observer] = ()) -> RunRow:
    """One run in this process, from the beginning; its metrics and model stay in ``folder``."""
    run = RunFolder(folder / f"{job.method}-{job.density}-{job.seed}")
    if run.config.is_file() and not run.path.is_symlink():
        shutil.rmtree(run.path)
    run_federation(job.config, run, Backend.INLINE, observers=observers)
    for done in (run.checkpoints, run.data):
        shutil.rmtree(done)
    measure = KINDS[job.rows].measure
    return measure(run, job.dataset, job.method, job.density, job.accuracy, commit)


def run_all(
    pending: Sequence[Job], task: Task, pool: Executor, path: Path, console: Screen
) -> list[str]:
    """Append a row to ``path`` for every job that ends well; a sentence for every other.

    ``pool`` is shut down at the end.

    Raises:
        FedTinyError: a worker process died.
    """
    report = _Report(len(pending), console)
    failures = []
    futures = {pool.submit(task, job): job for job in pending}
    try:
        with report.progress:
            for future in as_completed(futures):
                failure = _collect(future, futures[future], path, report)
                failures += [failure] if failure else []
    finally:
        pool.shutdown(cancel_futures=True)
    console.print(f"{len(pending)} runs in {report.elapsed / 60:.1f} minutes")
    return failures


def _collect(future: Future[RunRow], job: Job, path: Path, report: _Report) -> str:
    try:
        row = future.result()
    except BrokenProcessPool as error:
        raise FedTinyError(
            "a worker process died, perhaps for lack of memory: run the same command with fewer "
            "--workers; what is done is kept"
        ) from error
    except Exception as error:  # one run's failure must not cost the others
        report.line(terminal_text(f"{job.title}: {type(error).__name__}: {error}", "red"))
        return f"{job.title} failed: {error}"
    csv_rows.append(path, row)
    report.line(terminal_text(f"{job.title}: accuracy {100 * row.accuracy:.1f} %"))
    return ""


@dataclass
class _Report:
    """One line per run with the time left; on a terminal a bar under them."""

    total: int
    console: Screen
    done: int = 0
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.progress = Progress(
            TextColumn("runs", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=self.console,
            disable=not self.console.is_terminal,
            transient=True,
        )
        self._task = self.progress.add_task("", total=self.total, left="")

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def line(self, text: Text) -> None:
        """A run ended."""
        self.done += 1
        left = self.elapsed / self.done * (self.total - self.done)
        self.progress.update(self._task, completed=self.done, left=f"{left / 60:.0f} min left")
        count = count_text(self.done, self.total)
        self.console.say(
            terminal_text(f"{count} ") + text + terminal_text(f", {left / 60:.0f} min left")
        )


def count_text(done: int, total: int) -> str:
    """``12/240``, padded so that lines align.

    >>> count_text(7, 240)
    '  7/240'
    """
    return f"{done:{len(str(total))}}/{total}"


if __name__ == "__main__":
    cli()
