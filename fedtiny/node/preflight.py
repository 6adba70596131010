"""Could this device take part with this bundle? Each check says what was found, and the fix."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from fedtiny.data import shares
from fedtiny.data.spool import is_recorded, look
from fedtiny.doctor.environment import Check
from fedtiny.engine import available, unavailable_reason
from fedtiny.errors import FedTinyError
from fedtiny.node.address import host_and_port
from fedtiny.node.bundle import Bundle, read_bundle
from fedtiny.node.machine import free_ram_bytes
from fedtiny.node.manifest import certificate_fingerprint
from fedtiny.node.running import check_bundle
from fedtiny.node.server import look_at

_WARN_DAYS = 30
_CLOCK_S = 60.0
_DISK_BYTES = 200 << 20  # app, logs, the database of messages
_PYTHON = (3, 11)


def preflight(folder: Path, key: Path, authority: str = "") -> list[Check]:
    """Every check, those that need a sound bundle only with one.

    Args:
        folder: of the bundle.
        key: file of the device's private key.
        authority: fingerprint of the federation's certificate; any if empty.
    """
    checks = [_python(), _flower(), _engine()]
    try:
        bundle = read_bundle(folder, authority)
    except FedTinyError as error:
        return [
            Check("bundle", False, str(error), "copy it again, or have it issued again"),
            *checks,
        ]
    found = certificate_fingerprint(bundle.authority)
    return [
        Check("bundle", True, f"node {bundle.settings.node}, signed by {found}", ""),
        _expiry(bundle),
        _asked("key", lambda: _key(bundle, key), "make a new request on this device"),
        *checks,
        *_server(bundle),
        _memory(bundle),
        _disk(folder),
        _asked("data", lambda: _data(bundle), "put the file there, or have the path changed"),
    ]


def _asked(name: str, ask: Callable[[], str], fix: str) -> Check:
    try:
        return Check(name, True, ask(), "")
    except FedTinyError as error:
        return Check(name, False, str(error), fix)


def _expiry(bundle: Bundle) -> Check:
    left = bundle.days_left
    renew = f"python -m sims.deploy renew DIR --node {bundle.settings.node}"
    if left < 0:
        return Check("validity", False, f"expired {-left} days ago", renew)
    soon = f"; renew it soon: {renew}" if left < _WARN_DAYS else ""
    return Check("validity", True, f"{left} days left{soon}", "")


def _key(bundle: Bundle, key: Path) -> str:
    check_bundle(bundle, key)
    return f"{key}, private, {bundle.settings.key_fingerprint}"


def _server(bundle: Bundle) -> Iterator[Check]:
    settings = bundle.settings
    where = host_and_port(settings.host, settings.port)
    try:
        view = look_at(settings.host, settings.port, bundle.ca_file)
    except FedTinyError as error:
        yield Check("server", False, str(error), "see there")
        return
    yield Check("server", True, f"{where}, its certificate valid for {view.days_left} days", "")
    if view.ahead_s is not None:
        good = abs(view.ahead_s) <= _CLOCK_S
        found = f"{abs(view.ahead_s):.0f} s from the server's"
        yield Check("clock", good, found, "" if good else "timedatectl set-ntp true")


def _memory(bundle: Bundle) -> Check:
    free, needed = free_ram_bytes(), bundle.settings.memory_max_bytes
    found = f"{free >> 20} MiB free, the node may take {needed >> 20}"
    fix = "" if free >= needed else "stop other services, or boot without a desktop"
    return Check("memory", free >= needed, found, fix)


def _disk(folder: Path) -> Check:
    free = shutil.disk_usage(folder).free
    good = free >= _DISK_BYTES
    return Check("disk", good, f"{free >> 20} MiB free", "" if good else "make 200 MiB free")


def _data(bundle: Bundle) -> str:
    named = Path(bundle.settings.data)
    if is_recorded(named):
        return f"{named}: {len(look(named).files)} file(s) of its own recordings"
    whole = named.suffix == ".npz"
    path = named if whole else shares.client_file(named, bundle.settings.partition)
    arrays = shares.read(path)
    samples = sum(len(array) for name, array in arrays.items() if name.startswith("y"))
    return f"{path}: {samples} labelled samples"


def _python() -> Check:
    found = ".".join(map(str, sys.version_info[:3]))
    good = sys.version_info[:2] >= _PYTHON
    return Check("python", good, found, "" if good else "Raspberry Pi OS 12 or newer has 3.11")


def _flower() -> Check:
    program = Path(sys.executable).with_name("flower-supernode")
    good = program.exists() and importlib.util.find_spec("flwr") is not None
    return Check("flower", good, str(program), "" if good else "pip install 'fedtiny[client]'")


def _engine() -> Check:
    if available():
        return Check("engine", True, "compiled for this machine", "")
    return Check("engine", False, str(unavailable_reason()), "apt install g++, then install again")
