"""Run a deployment's job on its SuperLink, and go on with it after a crash.

The app that Flower sends to the devices is staged with the job's resolved config in it: what they
train with is what the operator's ``job.toml`` says, whatever lies on the device.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import tomli_w

from fedtiny import config as run_config
from fedtiny.data.shares import server_file
from fedtiny.data.simulated import deal_into
from fedtiny.errors import FedTinyError
from fedtiny.runs import checkpoint
from fedtiny.runs.folder import RunFolder
from sims.deploy import admission, arrivals, audit, flower, processes, superlink
from sims.deploy.home import DeployError, Home
from sims.deploy.local import shares_folder
from sims.deploy.progress import Follower
from sims.deploy.trail import Trail
from sims.flower_run import APP

_JOB = "sims/configs/job.toml"
_PARTS = ("clients", "strategies")  # a device unpacks the app for every message: no more than that
_FILES = ("pyproject.toml", "LICENSE", "README.md", "sims/__init__.py")
_POLL_S = 0.5
_START_S = 30.0
_TAIL_LINES = 25
_DONE = "finished:completed"
_NO_SPACE_BYTES = 64 << 10


def run(home: Home, resume: bool, say: Callable[[str], None]) -> Path:
    """Run the job until it ends.

    Args:
        home: of the deployment; its SuperLink runs.
        resume: go on from the newest checkpoint of the last run; else a new one, from scratch.
        say: told of every phase and round.

    Returns:
        The model's file.

    Raises:
        DeployError: there is nothing to resume, or a finished run in the way; the run failed, the
            disk is full, or the SuperLink died. Checkpoints stay: resume goes on.
    """
    superlink.require(home)
    folder = RunFolder(home.results)
    _check_folder(home, folder, resume)
    _deal(home)
    _stop_stale(home)
    audit.record(home, "run", resume=resume)
    try:
        with _staged(home, resume) as (app, settings):
            _submit_and_wait(home, app, settings, folder, say)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        with suppress(FedTinyError):  # a SuperLink on the same disk may be unable: resume does it
            _stop_stale(home)
        raise DeployError(_full(home)) from error
    digest = checkpoint.recorded_digest(folder.model)
    audit.record(home, "run finished", model=str(folder.model), sha256=digest)
    return folder.model


def _check_folder(home: Home, folder: RunFolder, resume: bool) -> None:
    checkpoints = list(folder.checkpoints.glob("*.safetensors"))
    if folder.model.exists():
        raise DeployError(f"{folder.path} holds a finished run: move it away to run the job again")
    if resume and not checkpoints:
        raise DeployError(
            f"nothing to resume in {folder.path}: no round was finished; run it without --resume"
        )
    if not resume and checkpoints:
        raise DeployError(
            f"{folder.path} holds a run that was interrupted: go on with "
            f"`python -m sims.deploy run {home.path} --resume`, or move it away"
        )


def _deal(home: Home) -> None:
    """The server's own samples; of a simulated federation also everybody else's."""
    job = admission.job_of(home)
    if not server_file(shares_folder(home)).exists():
        deal_into(shares_folder(home), job.data, job.seed)


def _stop_stale(home: Home) -> None:
    """End runs that a killed SuperLink left behind: they would go on asking nodes."""
    for one in runs(home):
        if not one["status"].startswith("finished"):
            _stop(home, one["run-id"])


def _stop(home: Home, run_id: str) -> None:
    """End a run; one that ended by itself in the meantime has ended, too.

    Raises:
        DeployError: Flower could not, and it goes on.
    """
    try:
        flower.run(home, ["stop", run_id, flower.LINK])
    except DeployError:
        status = next((one["status"] for one in runs(home) if one["run-id"] == run_id), "finished")
        if not status.startswith("finished"):
            raise


def runs(home: Home) -> list[dict[str, str]]:
    """What the SuperLink says of all runs, newest first."""
    found: list[dict[str, str]] = flower.call(home, "list", flower.LINK)["runs"]
    return found


@contextmanager
def _staged(home: Home, resume: bool) -> Iterator[tuple[Path, Path]]:
    """The app with the job in it, and the run's settings, in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="fedtiny-") as name:
        app = Path(name) / "app"
        for part in _PARTS:
            shutil.copytree(APP / part, app / part, ignore=shutil.ignore_patterns("__pycache__"))
        (app / _JOB).parent.mkdir(parents=True)
        for file in _FILES:
            shutil.copy(APP / file, app / file)
        (app / _JOB).write_text(run_config.dump(admission.job_of(home)), encoding="utf-8")
        settings = Path(name) / "run.toml"
        tree = {
            "config": _JOB,
            "overrides": "[]",
            "out": str(home.results.resolve()),
            "data": str(shares_folder(home)),
            "resume": resume,
        }
        settings.write_text(tomli_w.dumps(tree), encoding="utf-8")
        yield app, settings


def _submit_and_wait(
    home: Home, app: Path, settings: Path, folder: RunFolder, say: Callable[[str], None]
) -> None:
    trail = Trail(home, folder)
    follower = Follower(folder, say, trail.note)
    arguments = ["run", str(app), flower.LINK, "--stream", "-c", str(settings)]
    log = home.logs / "run.log"

    def look() -> None:
        follower.look()
        trail.look()
        arrivals.collect(home)
        if processes.running(home, superlink.NAME) is None:
            raise DeployError(_died(home))
        time.sleep(_POLL_S)

    with log.open("wb") as output:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("flwr")), *arguments],
            env={**os.environ, **flower.environment(home)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            while process.poll() is None:
                look()
            status = _final_status(home, look)
        finally:
            process.terminate()
            process.wait()
    follower.look()
    trail.look()
    if status != _DONE and _free_bytes(home) < _NO_SPACE_BYTES:
        raise DeployError(_full(home))
    if status != _DONE:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        raise DeployError(f"the run ended as {status}; the end of {log}:\n" + "\n".join(lines))


def _final_status(home: Home, look: Callable[[], None]) -> str:
    """Of the newest run; one that outlives the stream of its log is waited for."""
    patience = time.monotonic() + _START_S
    while True:
        look()
        status = next((one["status"] for one in runs(home)), "never started")
        if status.startswith("finished"):
            return status
        if status == "never started" and time.monotonic() > patience:
            return status


def _free_bytes(home: Home) -> int:
    """Where the run writes; its folder may be a disk of its own, or not be there yet."""
    place = home.results if home.results.exists() else home.path
    return shutil.disk_usage(place).free


def _full(home: Home) -> str:
    return (
        f"the disk is full: not all of {home.path} could be written. What was finished is kept: "
        f"make room (df -h), then `python -m sims.deploy run {home.path} --resume` goes on with "
        "the next round"
    )


def _died(home: Home) -> str:
    return (
        "the SuperLink ended while the job ran. What was finished is kept: "
        f"`python -m sims.deploy up {home.path}` starts it again, `run {home.path} --resume` "
        "goes on with the next round"
    )
