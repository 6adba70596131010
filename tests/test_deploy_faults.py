"""Processes of a federation are killed and stopped; what is left goes on to the right bytes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from deployments import Deployment, children, finish, make, wait_for

from clients import handlers
from clients.app import client_app
from clients.device import Device
from clients.handlers import HANDLERS
from fedtiny.config import load
from fedtiny.data.simulated import deal_into
from fedtiny.errors import FedTinyError
from fedtiny.runs.events import Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainTask
from sims.backends import Backend, run_federation
from sims.deploy import processes
from sims.grids.inline import InlineGrid
from strategies.app import run

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]

DEADLINE_S = 75
"""Longer than Flower takes to give a dead client up, so that each loss has its own cause."""


LONG = "training.epochs=40"
"""So that a training client can be met while it trains."""


@pytest.fixture
def fed(tmp_path: Path) -> Iterator[Deployment]:
    deadline = f"federation.timeout_s={DEADLINE_S}"
    deployment = make(tmp_path / "fed", "federation.max_failures=1", deadline, LONG)
    try:
        yield deployment
    finally:
        deployment.call("down")


def test_a_killed_superlink_is_resumed_to_the_same_bytes(fed: Deployment, tmp_path: Path) -> None:
    job = fed.begin("up", "--local", 3)
    first = fed.run.checkpoints / "round-00001.safetensors"
    wait_for(first.exists, "the first round", job)
    os.kill(fed.pid("superlink"), signal.SIGKILL)
    said = finish(job, status=2)
    assert "--resume` goes on with the next round" in " ".join(said.split())
    assert not fed.run.model.exists()
    assert "holds a run that was interrupted" in fed.call("up", "--local", 3, status=2)
    said = fed.call("up", "--local", 3, "--resume")
    assert "round 1: train" not in said, "a finished round is not repeated"
    run_federation(load(fed.home.job), RunFolder(tmp_path / "run"), Backend.INLINE)
    assert fed.run.model.read_bytes() == (tmp_path / "run/model.safetensors").read_bytes()


def test_a_lost_client_and_a_late_one_cost_their_updates_and_nothing_else(
    fed: Deployment, tmp_path: Path
) -> None:
    """Round 1: a client process is killed. Round 2: a node is stopped until it is given up."""
    job = fed.begin("up", "--local", 3)
    wait_for(lambda: "Receiving: train message" in log_of(fed, "local-2"), "the first task", job)
    training = wait_for(lambda: trainers(fed, "local-2"), "a client that trains", job)
    os.kill(training[0], signal.SIGKILL)
    wait_for((fed.run.checkpoints / "round-00001.safetensors").exists, "the first round", job)
    stopped = [fed.pid("local-1"), *children(fed.pid("local-1"), "")]
    for pid in stopped:
        os.kill(pid, signal.SIGSTOP)
    try:
        wait_for((fed.run.checkpoints / "round-00002.safetensors").exists, "the second round", job)
    finally:
        for pid in stopped:
            os.kill(pid, signal.SIGCONT)
    finish(job)
    lost = {
        event.round: [failure.partition for failure in event.failures]
        for event in fed.run.events(Exchanged)
        if event.phase is Phase.TRAIN
    }
    assert lost == {1: [2], 2: [1], 3: []}
    assert fed.run.model.read_bytes() == without(fed, tmp_path, {(1, 2), (2, 1)})


def log_of(fed: Deployment, name: str) -> str:
    return fed.log(name) if processes.log_file(fed.home, name).exists() else ""


def trainers(fed: Deployment, name: str) -> list[int]:
    """Client processes with the engine in them; Flower also keeps idle ones."""
    return [pid for pid in children(fed.pid(name), "flwr-clientapp") if has_engine(pid)]


def has_engine(pid: int) -> bool:
    try:
        maps = Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return "/_engine" in maps


def without(fed: Deployment, tmp_path: Path, losses: set[tuple[int, int]]) -> bytes:
    """The model's bytes when these updates (round, partition) are lost in a run in one process."""
    config, folder = load(fed.home.job), RunFolder(tmp_path / "alone")
    deal_into(folder.data, config.data, config.seed)

    def train(device: Device, packet: Packet) -> Packet:
        if (TrainTask.read(device.graph, packet).round, device.partition) in losses:
            raise FedTinyError("lost")
        return handlers.train(device, packet)

    app = client_app({**HANDLERS, Phase.TRAIN: train})
    settings = {
        "config": str(fed.home.job.resolve()),
        "overrides": "[]",
        "out": str(folder.path),
        "data": str(folder.data),
    }
    run(config, InlineGrid(app, config.data.partitions, settings), folder, resume=False)
    return folder.model.read_bytes()
