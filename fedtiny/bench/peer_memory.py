"""``python -m fedtiny.bench.peer_memory``: what one contender's training steps make resident.

Libraries allocate where no profiler of PyTorch's sees it, so every contender gets a process of its
own, and the system says how far it grew.
"""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path

from fedtiny.bench.contenders import Steps
from fedtiny.bench.peer_cases import CASES, Work, contender
from fedtiny.bench.workload import Workload
from fedtiny.command_line import CommandLine
from fedtiny.errors import FedTinyError
from fedtiny.memory.allocator import trim

cli = CommandLine()
_STATUS = Path("/proc/self/status")
_STEPS = 2  # momentum appears at the end of the first


def peak_resident_bytes(work: Work, density: float, threads: int, name: str) -> int:
    """How far a fresh process grows that makes a contender and takes a few steps, in bytes.

    Raises:
        FedTinyError: it failed; ends with what it said last.
    """
    asked = work, str(density), str(threads), name
    done = subprocess.run(
        [sys.executable, "-m", "fedtiny.bench.peer_memory", *asked],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise FedTinyError(f"{name}: {done.stderr.strip()[-2000:]}")
    return int(done.stdout.split()[-1])


def _grown(work: Work, density: float, threads: int, name: str) -> int:
    task = CASES[work].workload(density, threads)
    make = contender(name, task).make
    _train(make(), task)  # brings code and a library's own tables into memory
    before = _settled()
    trainer = make()
    _settled()
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak begins here
    _train(trainer, task)
    return _status("VmHWM") - before


def _train(trainer: Steps, task: Workload) -> None:
    for turn in range(_STEPS):
        chosen = task.chosen(turn)
        trainer.step(task.x[chosen], task.y[chosen])


def _settled() -> int:
    """What is resident when all that is unused was given back."""
    gc.collect()
    trim()
    return _status("VmRSS")


def _status(key: str) -> int:
    lines = _STATUS.read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) * 1024


@cli.command()
def grown(work: Work, density: float, threads: int, name: str) -> None:
    """Print how many bytes this process grows by, training."""
    print(_grown(work, density, threads, name))


if __name__ == "__main__":
    cli()
