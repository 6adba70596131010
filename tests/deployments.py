"""Federations of real processes on this machine, for tests: made, looked at, always ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedtiny.runs.folder import RunFolder
from sims.deploy import processes
from sims.deploy.home import Home
from sims.flower_run import APP

PATIENCE_S = 420
"""For anything that should take a minute: machines that test are busy."""

SMALL = (
    "federation.rounds=3",
    "federation.evaluate_every=3",
    "pruning.stop=2",
    "pruning.interval=1",
    "pruning.selection=none",
    "pretraining.epochs=0",
    "training.epochs=1",
)
"""What makes the deployed job seven exchanges."""


@dataclass(frozen=True)
class Deployment:
    """A deployment's folder, worked with through its commands."""

    home: Home

    def command(self, *words: object) -> list[str]:
        name, *rest = map(str, words)
        return [sys.executable, "-m", "sims.deploy", name, str(self.home.path), *rest]

    def begin(self, *words: object) -> subprocess.Popen[str]:
        return start(self.command(*words))

    def call(self, *words: object, status: int = 0) -> str:
        """Run a command to its end; all it printed."""
        return finish(self.begin(*words), status)

    def pid(self, name: str) -> int:
        started = processes.running(self.home, name)
        assert started is not None, f"{name} does not run"
        return started.pid

    def log(self, name: str) -> str:
        return processes.log_file(self.home, name).read_text(encoding="utf-8", errors="replace")

    def connection(self, name: str) -> str:
        printed = self.call("status", "--json")  # warnings may stand before it
        found, _ = json.JSONDecoder().raw_decode(printed[printed.index("{") :])
        return str(next(one["connection"] for one in found["nodes"] if one["name"] == name))

    @property
    def run(self) -> RunFolder:
        return RunFolder(self.home.results)


def start(command: list[str]) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(APP), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command,
        cwd=APP,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def finish(process: subprocess.Popen[str], status: int = 0) -> str:
    """Wait for a process; what it printed. Fails with that if its status is another."""
    try:
        printed, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == status, printed
    return printed


def make(folder: Path, *overrides: str, nodes: int = 3) -> Deployment:
    """A new deployment on a free port."""
    deployment = Deployment(Home(folder))
    sets = [word for one in (*SMALL, *overrides) for word in ("--set", one)]
    words = ["--host", "127.0.0.1", "--port", free_port(), "--nodes", nodes, *sets]
    deployment.call("init", *words)
    return deployment


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(condition: Callable[[], Any], what: str, alive: subprocess.Popen[str] | None) -> Any:  # noqa: ANN401 - whatever the condition gives
    """Until ``condition`` gives something true; that. ``alive`` must not end before."""
    deadline = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        if alive is not None and alive.poll() is not None:
            raise AssertionError(f"ended before {what}: {alive.communicate()[0]}")
        time.sleep(0.1)
    return found


def children(pid: int, word: str) -> list[int]:
    """Descendants of a process that have ``word`` in their command lines."""
    found, queue = [], [pid]
    while queue:
        one = queue.pop()
        for task in Path(f"/proc/{one}/task").glob("*/children"):
            try:
                kids = [int(kid) for kid in task.read_text(encoding="utf-8").split()]
            except OSError:
                continue
            queue += kids
            found += [kid for kid in kids if word in _line(kid)]
    return found


def _line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
