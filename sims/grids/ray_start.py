"""How Ray is started on this machine, or a running cluster joined; how code gets to its actors."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import sys
import tempfile
import uuid
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayActorError, RayError

from fedtiny.data.shares import client_file, shares_folder
from fedtiny.errors import FedTinyError
from sims.grids.local import RunConfig
from sims.grids.ray_worker import Hello, Luggage, kind_of_machine
from sims.scratch import scratch_folder

ADDRESS = "RAY_ADDRESS"
"""Environment variable with a running cluster's address, as Ray has it."""

_ROOT = Path(__file__).resolve().parents[2]
_CODE = ("fedtiny", "clients", "strategies", "sims")
_OBJECT_STORE_BYTES = 256 << 20
_ANSWER_S = 10.0
_FLAGS = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
_ENVIRONMENT = {
    **_FLAGS,
    "RAY_worker_niceness": "0",  # Ray's own 15 starves actors on a machine that does more
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else actors, which ask for CPUs only, see no GPU
}


class RayStartError(FedTinyError):
    """Ray or its actors did not start; the message says what it said."""


def start_local(actors: int) -> None:
    """Ray on this machine, ended with this process.

    Raises:
        RayStartError: it did not start.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    _init(
        "--backend inline runs the same in one process",
        address="local",
        _temp_dir=str(scratch_folder() / "ray"),
        num_cpus=actors,
        include_dashboard=False,
        object_store_memory=_OBJECT_STORE_BYTES,
        runtime_env=local_environment(),
    )


def join(address: str) -> None:
    """A cluster that was started with ``ray start``; our code is uploaded to it.

    Raises:
        RayStartError: there is none, it is of another Ray or Python, or code cannot be uploaded.
    """
    _reach(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with tempfile.TemporaryDirectory(prefix="code-", dir=scratch_folder()) as folder:
        for package in _CODE:
            ignored = shutil.ignore_patterns("__pycache__", "*.part")
            shutil.copytree(_ROOT / package, Path(folder) / package, ignore=ignored)
        _init(
            f"{_remedy(address)}, with the same versions of Ray and Python",
            address=address,
            runtime_env={"working_dir": folder, "env_vars": _FLAGS},
        )


def _reach(address: str) -> None:
    """See that somebody listens at ``host:port``; Ray itself tries for longer than ten minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return  # "auto" and the like are Ray's to understand
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_ANSWER_S).close()
    except (OSError, OverflowError) as error:
        raise RayStartError(f"nobody answers at {address}: {error}; {_remedy(address)}") from error


def _remedy(address: str) -> str:
    return f"see that {address} is the address that `ray start --head` printed"


def _init(remedy: str, **settings: Any) -> None:  # noqa: ANN401 - what ray.init takes
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            ray.init(log_to_driver=False, logging_level=logging.ERROR, **settings)
    except Exception as error:  # whatever it meets is about machines, not about the run
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise RayStartError(f"Ray did not start: {lines[0]}; {remedy}") from error


def local_environment() -> dict[str, Any]:
    """Actors import from where this process does; nothing is uploaded."""
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {"env_vars": {**_ENVIRONMENT, "PYTHONPATH": path}}


def cluster_cpus() -> int:
    """Of all machines of the cluster, at least 1."""
    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return max(1, int(resources.get("CPU", 1)))


def pack(run_config: RunConfig) -> Luggage:
    """What actors on other machines need of the run, besides their devices' samples."""
    config = str(run_config.get("config", ""))
    return Luggage(f"fedtiny-{uuid.uuid4().hex[:12]}", Path(config).read_bytes() if config else b"")


def check_kind(hello: Hello) -> None:
    """See that an actor computes what this process would.

    Raises:
        RayStartError: it lives on another kind of machine.
    """
    ours = kind_of_machine()
    if hello.kind != ours:
        raise RayStartError(
            f"the Ray node on {hello.host} has {hello.kind}, this machine {ours}: results would "
            "depend on which node trains which client. Take that node out of the cluster (ray "
            "stop), or start the run on a machine of its kind"
        )


def explain(error: RayError) -> str:
    """What happened to an actor, in a line."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    if isinstance(error, RayActorError):
        return (
            f"its worker process died and was replaced; most often the machine ran out of memory, "
            f"so try --backend inline or fewer actors (Ray: {lines[0]})"
        )
    return f"{type(error).__name__}: {lines[0]}"


def share_of(run_config: Mapping[str, Any], partition: int) -> tuple[str, bytes] | None:
    """Name and content of one device's samples; ``None`` if the run has none in files."""
    if not run_config.get("data"):
        return None
    path = client_file(shares_folder(run_config), partition)
    return path.name, path.read_bytes()
