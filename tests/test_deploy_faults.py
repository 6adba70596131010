"""A federation's processes are killed, held up and out of disk; it goes on to the right bytes.

One run of six rounds meets one fault after the other. What a fault meets is held in the middle of
its training until then, so nothing here depends on how fast the machine is.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from deployments import Deployment, Gates, children, finish, has_ended, make, wait_for
from nat import FORGETS_S, Nat, start_behind

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
from sims.grids.inline import InlineGrid
from strategies.app import run

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(1500)]

HEARTBEAT_S = 20
"""Flower's own is 30: it gives a process up after two of them."""

DEADLINE_S = 900
"""Never waited for: the server's clock is put forward when it is time."""

CLIENT_KILLED, NODE_KILLED, NODE_AWAY, LATE, SERVER_KILLED, DISK_FULL = range(1, 7)
"""What happens in which round; until the fourth to local-1, whose update is lost."""

LOST = {(CLIENT_KILLED, 1), (NODE_KILLED, 1), (NODE_AWAY, 1), (LATE, 1)}
"""(round, partition)"""

SLOW_S = 3 * FORGETS_S
"""How long a device trains whose router forgets its connections meanwhile, and nothing is lost."""

DISK_BYTES = 4 << 20


@dataclass(frozen=True)
class Story:
    """What was seen.

    Attributes:
        fed: whose run is over.
        server_killed: what the command said that ran the job when the SuperLink was killed.
        started_over: what it said to the wish to start over.
        disk_full: what it said when the disk was full; empty where none can be made.
        kept: names of the checkpoints that were there then.
        forgotten: connections, by the router of the node that came back.
        resumed: what the commands said that went on.
        away_s: seconds from the death of the node to its return.
    """

    fed: Deployment
    server_killed: str
    started_over: str
    disk_full: str
    kept: set[str]
    forgotten: int
    resumed: list[str]
    away_s: float


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("faults")
    gates = Gates(folder / "gates")
    gates.folder.mkdir()
    environment = {**gates.environment, "FEDTINY_TEST_HEARTBEAT_S": str(HEARTBEAT_S)}
    deployment = make(
        folder / "fed",
        *("federation.max_failures=1", f"federation.timeout_s={DEADLINE_S}"),
        *(f"federation.rounds={DISK_FULL}", f"federation.evaluate_every={DISK_FULL}"),
        nodes=2,
        environment=environment,
    )
    disk = Disk(deployment.home.results)
    nat = Nat(deployment.home.settings().port, FORGETS_S)
    with ExitStack() as ends:
        ends.callback(disk.unmount)
        ends.callback(nat.close)
        ends.callback(deployment.call, "down")
        yield tell(deployment, gates, disk, nat, ends)


def tell(fed: Deployment, gates: Gates, disk: Disk, nat: Nat, ends: ExitStack) -> Story:
    for round in (CLIENT_KILLED, NODE_KILLED, LATE, SERVER_KILLED, DISK_FULL):
        gates.hold(1, round)
    gates.hold(0, NODE_AWAY)
    job = fed.begin("up", "--local", 2)

    os.kill(held(gates, 1, CLIENT_KILLED, job), signal.SIGKILL)

    held(gates, 1, NODE_KILLED, job)
    died = time.monotonic()
    for pid in [fed.pid("local-1"), *children(fed.pid("local-1"), "")]:
        os.kill(pid, signal.SIGKILL)

    held(gates, 0, NODE_AWAY, job)
    node = start_behind(nat, fed, "local-1", gates.folder / "bundle")
    ends.callback(node.wait)
    ends.callback(node.terminate)
    wait_for(lambda: is_online(fed, "local-1"), "the node's return", job)
    away_s = time.monotonic() - died
    gates.release(0, NODE_AWAY)

    held(gates, 1, LATE, job)
    wait_for(lambda: sent(fed, LATE), "the other's reply", job)
    gates.deadline.touch()
    wait_for(checkpoint(fed, LATE).exists, "the end of its patience", job)
    gates.release(1, LATE)

    before = held(gates, 1, SERVER_KILLED, job)
    os.kill(fed.pid("superlink"), signal.SIGKILL)
    server_killed = finish(job, status=2)
    fed.call("up")
    started_over = fed.call("run", status=2)
    gates.release(1, SERVER_KILLED)  # it ends its training for the server that is gone
    wait_for(lambda: has_ended(before), "the end of its client", None)
    gates.forget(1, SERVER_KILLED)
    gates.hold(1, SERVER_KILLED)
    time.sleep(HEARTBEAT_S)  # until then "online" may be what the old SuperLink knew
    wait_for(lambda: is_online(fed, "local-1"), "its return to the new SuperLink", None)
    job = fed.begin("run", "--resume")
    held(gates, 1, SERVER_KILLED, job)
    time.sleep(SLOW_S)  # what is tested: it is at work all that time
    gates.release(1, SERVER_KILLED)

    held(gates, 1, DISK_FULL, job)
    disk_full, kept, resumed = "", set(), []
    disk.fill()
    gates.release(1, DISK_FULL)
    if disk.mounted:
        disk_full = finish(job, status=2)
        kept = {one.name for one in fed.run.checkpoints.iterdir()}
        disk.free()
        job = fed.begin("run", "--resume")
    resumed.append(finish(job))
    return Story(fed, server_killed, started_over, disk_full, kept, nat.forgotten, resumed, away_s)


def held(gates: Gates, partition: int, round: int, job: subprocess.Popen[str]) -> int:
    """Wait until a device trains and is held; its process."""
    what = f"partition {partition} to train in round {round}"
    return int(wait_for(lambda: gates.held(partition, round), what, job))


def is_online(fed: Deployment, node: str) -> bool:
    return fed.connection(node) == "online"


def sent(fed: Deployment, round: int) -> bool:
    """Whether the SuperLink has local-0's reply to a training task."""
    _, _, after = fed.log("local-0").partition(f"ROUND {round}]")
    return "Sending: train message" in after and "Sent successfully" in after


def checkpoint(fed: Deployment, round: int) -> Path:
    return fed.run.checkpoints / f"round-{round:05d}.safetensors.sha256"


class Disk:
    """A small file system of its own for a folder, where this process may mount one.

    Attributes:
        mounted: whether it may.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder, self._filler = folder, folder / "filler"
        words = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "tmpfs", str(folder)]
        self.mounted = subprocess.run(words, capture_output=True, check=False).returncode == 0

    def fill(self) -> None:
        """To the last byte."""
        if not self.mounted:
            return
        with self._filler.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def free(self) -> None:
        self._filler.unlink()

    def unmount(self) -> None:
        if self.mounted:
            subprocess.run(["umount", "--lazy", str(self._folder)], check=True)


def exchanges(fed: Deployment) -> dict[int, Exchanged]:
    """Of training, by round; of a round that was begun twice, the second."""
    return {e.round: e for e in fed.run.events(Exchanged) if e.phase is Phase.TRAIN}


@pytest.mark.parametrize(
    ("round", "words"),
    [
        (CLIENT_KILLED, "Flower error 8"),
        (NODE_KILLED, "Flower error 5"),
        (LATE, f"no reply within {DEADLINE_S} s"),
    ],
)
def test_a_lost_update_is_named_with_its_cause(story: Story, round: int, words: str) -> None:
    one = exchanges(story.fed)[round]
    assert [failure.partition for failure in one.failures] == [1]
    assert words in one.failures[0].reason


def test_a_killed_node_that_is_started_again_takes_part_again(story: Story) -> None:
    print(f"away for {story.away_s:.0f} s")
    counts = {round: (e.asked, e.answered) for round, e in exchanges(story.fed).items()}
    assert counts == {
        CLIENT_KILLED: (2, 1),
        NODE_KILLED: (2, 1),
        NODE_AWAY: (1, 1),
        LATE: (2, 1),
        **dict.fromkeys([SERVER_KILLED, DISK_FULL], (2, 2)),
    }


def test_a_slow_device_behind_a_router_that_forgets_is_not_lost(story: Story) -> None:
    assert story.forgotten > 0, "else nothing was tested"
    slow = exchanges(story.fed)[SERVER_KILLED]
    assert slow.answered == 2
    assert slow.seconds > SLOW_S


def test_a_killed_superlink_is_resumed_with_the_next_round(story: Story) -> None:
    assert "--resume` goes on with the next round" in " ".join(story.server_killed.split())
    assert "holds a run that was interrupted" in story.started_over
    said = "".join(story.resumed) + story.disk_full
    assert f"round {SERVER_KILLED}: train answered by 2 of 2" in said
    assert f"round {LATE}: train" not in said, "a finished round is not repeated"


def test_a_full_disk_ends_with_a_sentence_and_loses_nothing(story: Story) -> None:
    if not story.disk_full:
        pytest.skip("only root may mount a small disk")
    said = " ".join(story.disk_full.split())
    assert "the disk is full" in said
    assert "--resume` goes on with the next round" in said
    assert "Traceback" not in said
    assert checkpoint(story.fed, SERVER_KILLED).name in story.kept
    assert f"round-{DISK_FULL:05d}.safetensors" not in story.kept
    assert f"round {DISK_FULL}: train answered by 2 of 2" in story.resumed[-1]


def test_the_model_is_that_of_the_updates_that_survived(story: Story, tmp_path: Path) -> None:
    assert story.fed.run.model.read_bytes() == without(story.fed, tmp_path, LOST)


def without(fed: Deployment, tmp_path: Path, losses: set[tuple[int, int]]) -> bytes:
    """The model's bytes when these updates are lost in a run in one process."""
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
