"""``flwr run .`` as a function: its own SuperLink, started, watched and ended here."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import tomli_w

from fedtiny.errors import FedTinyError
from fedtiny.node.address import free_port
from sims.scratch import scratch_folder

APP = Path(__file__).resolve().parents[1]
"""The checkout: the folder whose ``pyproject.toml`` declares the Flower app."""

SWITCHES: Mapping[str, str] = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",  # else every run calls `uv sync`
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # as in sims.grids.ray
}
"""Environment of every Flower process we start."""

_LINK = "fedtiny"  # name of the SuperLink connection in our private Flower home
_START_S = 60.0
_STOP_S = 10.0
_TAIL_LINES = 30


def flower_run(
    config_path: Path,
    overrides: Sequence[str],
    out: Path,
    num_supernodes: int,
    *,
    shares: Path | None = None,
    app: Path = APP,
    timeout_s: float = 3600.0,
) -> None:
    """Run the app on Flower's own simulation engine and wait for its end.

    Args:
        config_path: the run's TOML file.
        overrides: ``section.key=value`` each.
        out: run folder to write.
        num_supernodes: simulated nodes, one per partition; each gets one CPU.
        shares: folder with everyone's samples, already dealt; by default ``data`` in ``out``.
        app: folder with the app's ``pyproject.toml``, or one a FAB was unpacked to.
        timeout_s: after which the run is given up.

    Raises:
        FedTinyError: the run did not finish as ``finished:completed`` (``flwr run`` itself exits
            with 0 even then); ends with the tail of its log.
    """
    with tempfile.TemporaryDirectory(prefix="flwr-", dir=scratch_folder()) as folder:
        home = Path(folder)
        settings = home / "run.toml"
        settings.write_text(
            tomli_w.dumps(
                {
                    "config": str(config_path.resolve()),
                    "overrides": json.dumps(list(overrides)),
                    "out": str(out.resolve()),
                    "data": str(shares.resolve()) if shares else "",
                }
            ),
            encoding="utf-8",
        )
        with _superlink(home) as environment:
            federation = f"num-supernodes={num_supernodes} client-resources-num-cpus=1"
            arguments = ["run", str(app.resolve()), _LINK, "--stream", "-c", str(settings)]
            log = _flwr([*arguments, "--federation-config", federation], environment, timeout_s)
            status = _status(environment)
            if status != "finished:completed":
                raise FedTinyError(
                    f"Flower's run ended as {status}; the end of its log:\n{_tail(log, home)}"
                )


@contextmanager
def _superlink(home: Path) -> Iterator[dict[str, str]]:
    """A SuperLink on a free port; yields the environment in which ``flwr`` finds it.

    ``flwr run`` would start one itself, but detached, on a fixed port, and leave it running.
    """
    port = free_port()
    (home / "config.toml").write_text(
        tomli_w.dumps({"superlink": {_LINK: {"address": f"127.0.0.1:{port}", "insecure": True}}}),
        encoding="utf-8",
    )
    tools = Path(sys.executable).parent
    environment = {
        **os.environ,
        **SWITCHES,
        "FLWR_HOME": str(home),
        "TMPDIR": str(scratch_folder()),  # its Ray has sockets there
        "PATH": f"{tools}{os.pathsep}{os.environ.get('PATH', '')}",
    }
    command = ["flower-superlink", "--insecure", "--simulation", "--host", "127.0.0.1"]
    with (home / "superlink.log").open("w", encoding="utf-8") as log:
        process = subprocess.Popen(
            [tools / command[0], *command[1:], "--port", str(port)],
            env=environment,
            cwd=home,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _wait_until_open(port, process, home)
            yield environment
        finally:
            _end(process)


def _wait_until_open(port: int, process: subprocess.Popen[bytes], home: Path) -> None:
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline and process.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise FedTinyError(
        f"Flower's SuperLink did not start within {_START_S:.0f} s:\n{_tail('', home)}"
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the SuperLink, give what it started time to clean up, then end that too."""
    process.terminate()
    try:
        process.wait(timeout=_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    deadline = time.monotonic() + _STOP_S
    try:
        while time.monotonic() < deadline:
            os.killpg(process.pid, 0)
            time.sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return  # the whole group is gone


def _flwr(arguments: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> str:
    """Run the ``flwr`` command; all it printed."""
    command = [str(Path(sys.executable).with_name("flwr")), *arguments]
    try:
        done = subprocess.run(
            command,
            env=environment,
            cwd=environment["FLWR_HOME"],  # not where a user may have packages of our names
            encoding="utf-8",
            errors="replace",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise FedTinyError(f"Flower's run did not end within {timeout_s:.0f} s") from error
    if done.returncode:
        raise FedTinyError(f"flwr {arguments[0]} failed:\n{done.stdout[-4000:]}")
    return done.stdout


def _status(environment: Mapping[str, str]) -> str:
    """Of the only run, e.g. ``finished:failed``."""
    listing = _flwr(["list", _LINK, "--format", "json"], environment, 60.0)
    runs = json.loads(listing[listing.index("{") :])["runs"]
    return str(runs[0]["status"]) if runs else "never started"


def _tail(log: str, home: Path) -> str:
    lines = (
        log.splitlines()
        or (home / "superlink.log").read_text(encoding="utf-8", errors="replace").splitlines()
    )
    return "\n".join(lines[-_TAIL_LINES:])
