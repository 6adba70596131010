"""Processes that a deployment started: found again, and ended, whoever asks.

A process id alone may belong to somebody else by the time one wants to end it. Each record has the
moment at which the kernel says that the process started, and each process carries a random mark in
its environment, which everything that it starts inherits.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from sims.deploy.home import Home

_MARK = "FEDTINY_DEPLOYMENT"
_STOP_S = 20.0
_POLL_S = 0.1
_SHOWN_S = 2.0


@dataclass(frozen=True, slots=True)
class Started:
    """One process.

    Attributes:
        name: ``superlink``, or that of a node.
        pid: its process id.
        ticks: when it started, as ``/proc/PID/stat`` has it.
        mark: in the environment of it and all its descendants.
    """

    name: str
    pid: int
    ticks: int
    mark: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return _ticks(self.pid) == self.ticks and _carries(self.pid, self.mark)


def start(home: Home, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Started:
    """Start a process in a session of its own, its output in the deployment's logs.

    What is left of an earlier one of that name is ended before: one that was killed may have left
    children, and two ServerApps must not write into one run.

    Args:
        home: of the deployment.
        name: of the record and the log.
        command: with its arguments.
        environment: beside this process's own.
    """
    home.logs.mkdir(parents=True, exist_ok=True)
    _records(home).mkdir(parents=True, exist_ok=True)
    end(home, [one for one in recorded(home) if one.name == name])
    mark = secrets.token_hex(16)
    with log_file(home, name).open("ab") as log:
        process = subprocess.Popen(
            command,
            env={**os.environ, **environment, _MARK: mark},
            cwd=home.path,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    ticks = _ticks(process.pid)
    patience = time.monotonic() + _SHOWN_S
    while not _carries(process.pid, mark) and time.monotonic() < patience:
        time.sleep(0.001)  # the kernel shows a new program's environment a moment after its start
    process.returncode = 0  # whoever asks next is another process: nothing here waits for it
    started = Started(name, process.pid, ticks, mark)
    path = _records(home) / f"{name}.json"
    path.write_text(json.dumps(asdict(started)) + "\n", encoding="utf-8")
    home.pid_file(name).write_text(f"{process.pid}\n", encoding="utf-8")
    return started


def log_file(home: Home, name: str) -> Path:
    """Where a process's output goes, of all its starts one after another."""
    return home.logs / f"{name}.log"


def recorded(home: Home) -> list[Started]:
    """Everything started and not ended by :func:`end`, alive or not."""
    paths = sorted(_records(home).glob("*.json"))
    return [Started(**json.loads(path.read_text(encoding="utf-8"))) for path in paths]


def running(home: Home, name: str) -> Started | None:
    """The process of that name, if it is alive."""
    return next((one for one in recorded(home) if one.name == name and one.alive), None)


def end(home: Home, several: Sequence[Started]) -> list[str]:
    """End processes and all that they started, politely first; names of those that lived."""
    lived = [one.name for one in several if one.alive or any(_marked(one.mark))]
    for one in several:
        if one.alive:
            _send(one.pid, signal.SIGCONT)
            _send(one.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_S
    while time.monotonic() < deadline and any(any(_marked(one.mark)) for one in several):
        time.sleep(_POLL_S)
    for one in several:
        for pid in _marked(one.mark):
            _send(pid, signal.SIGKILL)
        (_records(home) / f"{one.name}.json").unlink(missing_ok=True)
        home.pid_file(one.name).unlink(missing_ok=True)
    return lived


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):  # it ended by itself a moment ago
        os.kill(pid, number)


def _records(home: Home) -> Path:
    return home.runtime / "processes"


def _ticks(pid: int) -> int:
    """When a process started, in ticks since boot; -1 if it is gone or only its exit is left."""
    try:
        fields = (
            Path(f"/proc/{pid}/stat")
            .read_text(encoding="utf-8", errors="replace")
            .rpartition(")")[2]
            .split()
        )
    except OSError:
        return -1
    return -1 if fields[0] in ("Z", "X") else int(fields[19])


def _marked(mark: str) -> Iterator[int]:
    """Ids of the living processes that carry ``mark``."""
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and _carries(int(folder.name), mark):
            yield int(folder.name)


def _carries(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return False  # gone, or another user's
    return f"{_MARK}={mark}".encode() in environment
