"""Loaded by every Python that is started with this folder in PYTHONPATH; nothing without variables.

``FEDTINY_TEST_HEARTBEAT_S``: Flower's heartbeat interval, in seconds, where it has 30. It gives a
process up after two of them: a test that kills processes waits that long for each. A client's first
heartbeat may take eight of them, where Flower allows one: machines that test are busy.

``FEDTINY_TEST_GATES``: a folder. While it has a file ``hold-PARTITION-ROUND``, the device of that
partition trains its task of that round over and over; what it sends in the end is the last of these
equal results. ``at-PARTITION-ROUND`` then holds the process's id. When it gets a file ``deadline``,
the clock by which the server waits for replies jumps ahead, once.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported by those whose imports this changes
    from clients.device import Device
    from fedtiny.wire.packet import Packet


class Patched(Loader):
    """Loads as another loader does, then changes the module."""

    def __init__(self, loader: Loader, change: Callable[[ModuleType], None]) -> None:
        self._loader, self._change = loader, change

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        self._change(module)


class Patcher(MetaPathFinder):
    """Finds one module where it is, and changes it once it is loaded."""

    def __init__(self, name: str, change: Callable[[ModuleType], None]) -> None:
        self._name, self._change = name, change

    def find_spec(self, fullname: str, path: object, target: object = None) -> ModuleSpec | None:
        if fullname != self._name:
            return None
        spec = PathFinder.find_spec(fullname, path)  # type: ignore[arg-type]
        if spec is not None and spec.loader is not None:
            spec.loader = Patched(spec.loader, self._change)
        return spec


_FIRST = 8


def patient(constants: ModuleType) -> None:
    interval = int(os.environ["FEDTINY_TEST_HEARTBEAT_S"])
    constants.HEARTBEAT_DEFAULT_INTERVAL = _FIRST * interval  # type: ignore[attr-defined]
    constants.HEARTBEAT_PATIENCE = 2 / _FIRST  # type: ignore[attr-defined]


def beating(heartbeat: ModuleType) -> None:
    """Who sends them uses the interval itself."""
    heartbeat.HEARTBEAT_DEFAULT_INTERVAL = int(os.environ["FEDTINY_TEST_HEARTBEAT_S"])  # type: ignore[attr-defined]


def gated(handlers: ModuleType) -> None:
    phase = handlers.Phase.TRAIN
    train, gates = handlers.HANDLERS[phase], Path(os.environ["FEDTINY_TEST_GATES"])

    def wait_and_train(device: Device, packet: Packet) -> Packet:
        where = f"{device.partition}-{packet.scalars['round']}"
        result = train(device, packet)
        while (gates / f"hold-{where}").exists():
            (gates / f"at-{where}").write_text(str(os.getpid()), encoding="utf-8")
            time.sleep(0.1)
            result = train(device, packet)
        return result

    handlers.HANDLERS[phase] = wait_and_train


def impatient(post: ModuleType) -> None:
    deadline, jumps = Path(os.environ["FEDTINY_TEST_GATES"]) / "deadline", [0.0]

    def monotonic() -> float:
        if deadline.exists():
            jumps[0] = 1e6
        return time.monotonic() + jumps[0]

    post.time = SimpleNamespace(monotonic=monotonic, sleep=time.sleep)  # type: ignore[attr-defined]


if "FEDTINY_TEST_HEARTBEAT_S" in os.environ:
    sys.meta_path.insert(0, Patcher("flwr.common.constant", patient))
    sys.meta_path.insert(0, Patcher("flwr.supercore.heartbeat", beating))
if "FEDTINY_TEST_GATES" in os.environ:
    sys.meta_path.insert(0, Patcher("clients.handlers", gated))
    sys.meta_path.insert(0, Patcher("strategies.post", impatient))
