"""Who can open what: a device no file but its own share, the server none of the devices'."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedtiny.config import RunConfig
from fedtiny.data.shares import client_file
from fedtiny.data.simulated import deal_into
from fedtiny.data.statistics import Normalization
from fedtiny.devices.budget import largest_request, nominal_masks
from fedtiny.models.initial import initial_state
from fedtiny.models.sparse_model import from_state
from fedtiny.runs.folder import RunFolder
from fedtiny.seeding import rng
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.train import TrainTask
from sims.backends import Backend, run_federation
from sims.flower_run import APP, SWITCHES

WATCHED = """
import os, sys
from pathlib import Path

refused = []

def watch(forbidden):
    def hook(event, arguments):
        if event == "open" and isinstance(arguments[0], (str, bytes)):
            path = os.path.abspath(os.fsdecode(arguments[0]))
            if forbidden(path):
                refused.append(path)
                raise PermissionError(f"not to be opened: {path}")
    sys.addaudithook(hook)
"""

CLIENT = """
from sims.bench.client_process import answer, load

share, config, *messages = sys.argv[1:]
app, opened = load(), set()
CODE = (".py", ".pyc", ".so", ".cpp", ".h", "catalog.toml")  # .h: is the engine up to date?
MACHINE = ("/proc/", "/sys/", os.devnull)  # what it is, and what is free

def forbidden(path):
    opened.add(path)
    known = path in (share, config, *messages) or path.startswith(MACHINE)
    return not (known or path.endswith(CODE))

watch(forbidden)
for message in messages:
    answer(app, Path(message))
assert share in opened and not refused, (share in opened, refused)
"""

SERVER = """
from fedtiny.config import load
from fedtiny.runs.folder import RunFolder
from sims.grids.ray import RayGrid
from strategies.app import run

folder = RunFolder(Path(sys.argv[1]))
config, own, opened = load(folder.config), str(folder.data / "server.npz"), set()
settings = {"config": str(folder.config), "overrides": "[]", "out": str(folder.path)}

def forbidden(path):
    opened.add(path)
    return path.endswith(".npz") and path != own

watch(forbidden)
grid = RayGrid("clients.app:app", config.data.partitions, settings, 2)
try:
    run(config, grid, folder, resume=False)
finally:
    grid.close()
assert own in opened and not refused, (own in opened, refused)
"""


def python(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WATCHED + code, *map(str, arguments)]
    environment = {**os.environ, **SWITCHES}
    return subprocess.run(
        command, cwd=APP, env=environment, check=False, capture_output=True, encoding="utf-8"
    )


def write_messages(folder: Path, config: RunConfig, node: dict[str, object]) -> list[Path]:
    """What every device is asked in a run: describe, train, evaluate, calibrate."""
    graph = config.graph((6, 1, 128), 7)
    state = initial_state(graph, rng(0, "weights"))
    model = from_state(graph, state, nominal_masks(config, graph))
    scale = Normalization(np.zeros(6, np.float32), np.full(6, 4096, np.float32))
    train = TrainTask(1, model, scale, largest_request(config, graph), meter=True)
    asked = {
        "query.describe": Packet(),
        "train": train.packet(graph),
        "evaluate": ModelTask(model, scale).packet(graph),
        "query.calibrate": ModelTask(model, scale).packet(graph),
    }
    run = {"config": str(RunFolder(folder).config), "overrides": "[]"}
    for action, packet in asked.items():
        facts = {"type": action, "scalars": dict(packet.scalars), "graph": graph.to_json()}
        text = np.array(json.dumps({**facts, "node_config": node, "run_config": run}))
        np.savez(folder / f"{action}.npz", facts=text, **packet.arrays)
    return [folder / f"{action}.npz" for action in asked]


@pytest.fixture
def config(tiny_config: Callable[..., RunConfig]) -> RunConfig:
    """A run of one round."""
    small = ("model.name=smartwatch_cnn@8", "data.limit=400", "devices.fleet=[]")
    return tiny_config("federation.rounds=1", "pruning.stop=1", *small)


def test_a_device_opens_its_own_share_only(config: RunConfig, tmp_path: Path) -> None:
    RunFolder(tmp_path).create(config)
    deal_into(tmp_path / "data", config.data, config.seed)
    share = client_file(tmp_path / "data", 3)
    node = {"partition-id": 3, "num-partitions": 8, "data": str(share)}
    messages = write_messages(tmp_path, config, node)
    done = python(CLIENT, share, RunFolder(tmp_path).config, *messages)
    assert done.returncode == 0, done.stderr
    # The hook does bite: a device that is sent to another's share is stopped.
    other = {**node, "data": str(client_file(tmp_path / "data", 4))}
    done = python(
        CLIENT, share, RunFolder(tmp_path).config, write_messages(tmp_path, config, other)[0]
    )
    assert "share-00004.npz" in done.stderr
    assert "not to be opened" in done.stderr


@pytest.mark.deploy
def test_the_server_opens_no_share(config: RunConfig, tmp_path: Path) -> None:
    """Devices answer in Ray actors, processes of their own; the model is that of any backend."""
    watched, plain = RunFolder(tmp_path / "watched"), RunFolder(tmp_path / "plain")
    run_federation(config, plain, Backend.INLINE)
    watched.create(config)
    deal_into(watched.data, config.data, config.seed)
    done = python(SERVER, watched.path)
    assert done.returncode == 0, done.stderr
    assert watched.model.read_bytes() == plain.model.read_bytes()
