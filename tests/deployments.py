"""Federations of real processes on this machine, for tests: made, looked at, always ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from fedtiny.node.address import free_port
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


HOOKS = Path(__file__).with_name("hooks")
"""See ``sitecustomize.py`` there."""


@dataclass(frozen=True)
class Gates:
    """Holds devices in the middle of their training, see ``hooks/sitecustomize.py``.

    Attributes:
        folder: of the files that say so.
    """

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        return {"FEDTINY_TEST_GATES": str(self.folder)}

    def hold(self, partition: int, round: int) -> None:
        (self.folder / f"hold-{partition}-{round}").touch()

    def release(self, partition: int, round: int) -> None:
        (self.folder / f"hold-{partition}-{round}").unlink()

    def forget(self, partition: int, round: int) -> None:
        """Who was held there, once it is gone: as long as it is held it says so again."""
        (self.folder / f"at-{partition}-{round}").unlink()

    @property
    def deadline(self) -> Path:
        """When it is made, the server has waited long enough for replies."""
        return self.folder / "deadline"

    def held(self, partition: int, round: int) -> int:
        """Id of the process that trains and does not end; 0 if there is none yet."""
        at = self.folder / f"at-{partition}-{round}"
        return int(at.read_text(encoding="utf-8") or 0) if at.exists() else 0


@dataclass(frozen=True)
class Deployment:
    """A deployment's folder, worked with through its commands.

    Attributes:
        home: the folder.
        environment: of its commands and all that they start, beside this process's own.
    """

    home: Home
    environment: Mapping[str, str] = field(default_factory=dict)

    def command(self, *words: object) -> list[str]:
        name, *rest = map(str, words)
        return [sys.executable, "-m", "sims.deploy", name, str(self.home.path), *rest]

    def begin(self, *words: object) -> subprocess.Popen[str]:
        return start(self.command(*words), self.environment)

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


def start(
    command: list[str], more: Mapping[str, str] | None = None, log: IO[str] | None = None
) -> subprocess.Popen[str]:
    """A process; ``more``: of its environment; ``log``: for its output, else it is a pipe."""
    paths = os.pathsep.join([str(HOOKS), str(APP)])
    own = {"PYTHONPATH": paths, "PYTHONUNBUFFERED": "1", "FEDTINY_TEST_HEARTBEAT_S": "30"}
    return subprocess.Popen(
        command,
        cwd=APP,
        env={**os.environ, **own, **(more or {})},
        stdout=log or subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def finish(process: subprocess.Popen[str], status: int = 0, patience_s: float = PATIENCE_S) -> str:
    """Wait for a process; what it printed. Fails with that if its status is another."""
    try:
        printed, _ = process.communicate(timeout=patience_s)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == status, printed
    return printed


def make(
    folder: Path,
    *overrides: str,
    nodes: int = 3,
    environment: Mapping[str, str] | None = None,
    host: str = "127.0.0.1",
) -> Deployment:
    """A new deployment on a free port of this machine's ``host``."""
    deployment = Deployment(Home(folder), environment or {})
    sets = [word for one in (*SMALL, *overrides) for word in ("--set", one)]
    words = ["--host", host, "--port", free_port(), "--nodes", nodes, *sets]
    deployment.call("init", *words)
    return deployment


def has_ended(process: int) -> bool:
    """Whether a process runs no more; its parent may not have asked for its status yet."""
    try:
        facts = Path(f"/proc/{process}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True
    return facts.rpartition(")")[2].split()[0] == "Z"


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
