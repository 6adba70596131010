"""Client tasks a second on every engine, a plain loop beside each: the table and its CSV."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any

from fedtiny.errors import FedTinyError
from sims.backends import Backend
from sims.bench.contender import Case
from sims.code_version import code_version
from sims.flower_run import APP, SWITCHES
from sims.scratch import scratch_folder

PLAIN = "plain_loop"
WORK_MS = (0.0, 5.0, 50.0, 500.0)
_CLIENTS = 1_000
_TASKS = {0.0: (1_000, 2), 5.0: (100, 4), 50.0: (20, 3), 500.0: (4, 3)}
"""(tasks of a batch, batches) by milliseconds of work."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of simulator.csv: medians over all batches of all turns.

    Attributes:
        backend: an engine, or ``plain_loop`` for the loop beside Ray, on as many processes.
        clients: nodes of its grid.
        work_ms: of a task.
        tasks_per_second: on all cores together.
        ratio_to_plain_loop: seconds over those of a plain loop right after it, on as many
            processes: 1 for ``inline``, one per core for the others; None without work.
        driver_rss_bytes: resident in the driver afterwards.
        commit: of the code.
    """

    backend: str
    clients: int
    work_ms: float
    tasks_per_second: float
    ratio_to_plain_loop: float | None
    driver_rss_bytes: int
    commit: str


def cases(hashes_per_ms: float) -> list[Case]:
    """What every engine is asked in a turn; without work, every client something."""
    return [
        Case(_CLIENTS, ms, tasks, batches, round(ms * hashes_per_ms))
        for ms, (tasks, batches) in _TASKS.items()
    ]


def turn(backend: Backend, asked: Sequence[Case], cores: int) -> list[dict[str, Any]]:
    """One engine in a process of its own.

    Raises:
        FedTinyError: it failed; ends with what it said last.
    """
    with tempfile.TemporaryDirectory(prefix="b-", dir=scratch_folder()) as folder:
        out = Path(folder) / "out.json"
        words = {"cases": [asdict(one) for one in asked], "cores": cores, "out": str(out)}
        done = subprocess.run(
            [sys.executable, "-m", "sims.bench.contender", backend, json.dumps(words)],
            cwd=APP,
            env={**os.environ, **SWITCHES, "PYTHONPATH": str(APP)},
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if done.returncode or not out.exists():
            raise FedTinyError(f"{backend}: {done.stderr.strip()[-2000:]}")
        found: list[dict[str, Any]] = json.loads(out.read_text(encoding="utf-8"))
        return found


def rows(turns: Mapping[Backend, Sequence[Sequence[Mapping[str, Any]]]]) -> list[Row]:
    """Medians, the plain loop beside Ray as a contender of its own."""
    commit = code_version()
    found = []
    for backend, repeats in turns.items():
        for same in zip(*repeats, strict=True):
            found.append(_row(backend, same, "seconds", commit))
            if backend is Backend.RAY and same[0]["case"]["hashes"]:
                found.append(_row(PLAIN, same, "plain_seconds", commit))
    return found


def _row(backend: str, same: Sequence[Mapping[str, Any]], key: str, commit: str) -> Row:
    case = same[0]["case"]
    seconds = [one for turn in same for one in turn[key]]
    plain = [one for turn in same for one in turn["plain_seconds"]]
    ratios = [a / b for a, b in zip(seconds, plain, strict=True)]
    return Row(
        backend,
        case["clients"],
        case["work_ms"],
        round(case["tasks"] / median(seconds), 2),
        round(median(ratios), 3) if case["hashes"] else None,
        int(median(one["rss_bytes"] for one in same)),
        commit,
    )


def write_csv(path: Path, found: Sequence[Row]) -> None:
    """One line a row."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        names = [one.name for one in fields(Row)]
        writer.writerow(names)
        for row in found:
            values = [getattr(row, name) for name in names]
            writer.writerow(["" if value is None else value for value in values])
