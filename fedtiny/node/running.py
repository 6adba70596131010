"""Run a bundle's SuperNode: check first, wait for the server, then become its small watcher."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fedtiny.errors import FedTinyError
from fedtiny.node.address import free_port, host_and_port
from fedtiny.node.bundle import Bundle
from fedtiny.node.keys import fingerprint, load_key, public_text
from fedtiny.node.server import ServerAwayError, look_at
from fedtiny.node.watchdog import notify

_SWITCHES = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "FLWR_DISABLE_UPDATE_CHECK": "1",
    "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
    "PYTHONUNBUFFERED": "1",
    "OMP_NUM_THREADS": "1",
    "MALLOC_ARENA_MAX": "2",  # glibc's arenas, one per thread, cost a small device tens of MB
}
_AWAY_S = 5.0
_CLOCK_S = 300.0  # Flower's server refuses signatures that are older


class NodeError(FedTinyError):
    """The node was not started, or ended by itself."""


@dataclass(frozen=True)
class Place:
    """Where a node runs.

    Attributes:
        key: file of its private key.
        state: folder that Flower may write to.
        port: of the node's own interface for its clients, on 127.0.0.1; 0 picks a free one.
    """

    key: Path
    state: Path
    port: int = 0


def run_node(bundle: Bundle, place: Place, say: Callable[[str], None]) -> None:
    """Run the node until somebody ends this process (SIGTERM, SIGINT).

    Returns only if that happens before the server answers. Then this process becomes
    :mod:`fedtiny.node.watching`, which needs a fifth of the memory.

    Args:
        bundle: of the node.
        place: where it runs.
        say: told what is waited for.

    Raises:
        FedTinyError: bundle or key do not fit, or the server is not the right one.
    """
    check_bundle(bundle, place.key)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    notify("READY=1")  # waiting for a server is not a failure to start
    if not _server_ready(bundle, stop, say):
        return
    place.state.mkdir(parents=True, exist_ok=True)
    port = place.port or free_port()
    sys.stdout.flush()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    if stop.is_set():
        return
    watcher = [sys.executable, "-m", "fedtiny.node.watching", str(port)]
    os.execve(sys.executable, [*watcher, *_command(bundle, place, port)], _environment(place))


def check_bundle(bundle: Bundle, key_file: Path) -> None:
    """See that a node may start with this bundle and this key.

    Raises:
        FedTinyError: the bundle has expired, or was made for another key.
    """
    if bundle.days_left < 0:
        raise NodeError(
            f"{bundle.folder} expired {-bundle.days_left} days ago: the operator issues it again "
            f"with `python -m sims.deploy renew DIR --node {bundle.settings.node}`"
        )
    found = fingerprint(public_text(load_key(key_file).public_key()))
    if found != bundle.settings.key_fingerprint:
        raise NodeError(
            f"{key_file} is {found}, but the bundle was made for the key "
            f"{bundle.settings.key_fingerprint}: it is another device's bundle, or key"
        )


def _server_ready(bundle: Bundle, stop: threading.Event, say: Callable[[str], None]) -> bool:
    """Wait until the server answers; False if this process was told to end meanwhile."""
    said = ""
    while not stop.is_set():
        try:
            view = look_at(bundle.settings.host, bundle.settings.port, bundle.ca_file)
        except ServerAwayError as error:
            if str(error) != said:
                said = str(error)
                say(f"waiting for the server: {said}")
            notify("WATCHDOG=1")
            stop.wait(_AWAY_S)
            continue
        if view.ahead_s is not None and abs(view.ahead_s) > _CLOCK_S:
            raise NodeError(
                f"this device's clock is {abs(view.ahead_s):.0f} s from the server's, which "
                f"refuses what is older than {_CLOCK_S:.0f} s: synchronise the time (timedatectl)"
            )
        return True
    return False


def _command(bundle: Bundle, place: Place, port: int) -> list[str]:
    program = Path(sys.executable).with_name("flower-supernode")
    if not program.exists():
        raise NodeError(f"{program} is not there: pip install 'fedtiny[client]'")
    settings = bundle.settings
    return [
        str(program),
        *("--root-certificates", str(bundle.ca_file.resolve())),
        *("--superlink", host_and_port(settings.host, settings.port)),
        *("--auth-supernode-private-key", str(place.key.resolve())),
        *("--node-config", bundle.node_config),
        *("--port", str(port)),
        *("--isolation", "process"),  # the watcher starts what runs clients
    ]


def _environment(place: Place) -> dict[str, str]:
    programs = Path(sys.executable).parent
    return {
        **os.environ,
        **_SWITCHES,
        "FLWR_HOME": str(place.state.resolve() / "flower"),
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
    }
