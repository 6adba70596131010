"""A Ray cluster of two nodes on this machine: the same bytes, and a node that is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from fedtiny.config import RunConfig
from fedtiny.node.address import free_port
from fedtiny.runs.clock_events import TaskTimed
from fedtiny.runs.events import Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.outcome import Outcome
from sims.backends import Backend, run_federation
from sims.flower_run import APP
from sims.grids.ray_start import RayStartError, check_kind, join
from sims.grids.ray_worker import Hello, kind_of_machine

Configure = Callable[..., RunConfig]

FLEET = """
[[groups]]
name = "fast"
device = "pi_5"
count = 5
link = { down_kbps = 4000, up_kbps = 1000, spread = 0.3 }
availability = { dropout = 0.2 }
[[groups]]
name = "slow"
device = "esp32_s3"
count = 3
budget_bytes = 170000
link = { down_kbps = 300, up_kbps = 100, jitter = 0.3 }
"""
SMALL = (
    "model.name=smartwatch_cnn@8",
    "data.limit=400",
    "pretraining.epochs=0",
    "federation.rounds=6",
    "pruning.stop=2",
    "tiers.policy=nested",
    "clock.mode=synchronous",
    "clock.deadline_s=30",
)
RUN = """
import json, sys
from pathlib import Path
from fedtiny.config import load
from fedtiny.runs.folder import RunFolder
from sims.backends import Backend, run_federation
from sims.grids.ray import RayGrid

config, overrides, folder, address = sys.argv[1:]
folder = Path(folder)
take, nodes = RayGrid._take, set()

def noting(grid, lane, job):
    nodes.add(lane.node)
    take(grid, lane, job)

RayGrid._take = noting
config = load(Path(config), json.loads(overrides))
run_federation(config, RunFolder(folder), Backend.RAY, ray_address=address)
folder.with_suffix(".nodes").write_text(str(len(nodes)), encoding="utf-8")
"""


def test_a_node_of_another_kind_is_refused() -> None:
    check_kind(Hello("1", "here", kind_of_machine()))
    with pytest.raises(RayStartError, match=r"on pi has Python 3\.9, no sparse engine.*ray stop"):
        check_kind(Hello("2", "pi", "Python 3.9, no sparse engine"))


@pytest.mark.parametrize("port", [0, 70000])
def test_an_address_where_nobody_listens_is_an_error_at_once(port: int) -> None:
    address = f"127.0.0.1:{port or free_port()}"
    with pytest.raises(RayStartError, match=rf"nobody answers at {address}.*`ray start --head`"):
        join(address)


class Cluster:
    """Two nodes of one CPU each, each with a folder of its own."""

    def __init__(self) -> None:
        self._folders = [tempfile.TemporaryDirectory(prefix="n-", dir="/tmp") for _ in range(2)]
        port = free_port()
        self.address = f"127.0.0.1:{port}"
        head = ["--head", f"--port={port}", "--include-dashboard=false"]
        self._nodes = [self._start(0, *head)]
        self._nodes.append(self._start(1, f"--address={self.address}"))

    def _start(self, k: int, *words: str) -> subprocess.Popen[bytes]:
        folder = self._folders[k].name
        ray = str(Path(sys.executable).with_name("ray"))
        memory = f"--object-store-memory={100 << 20}"
        where = [f"--temp-dir={folder}"] if k == 0 else []
        options = ["--num-cpus=1", memory, "--disable-usage-stats", "--node-ip-address=127.0.0.1"]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen(
                [ray, "start", "--block", *options, *where, *words],
                env={**os.environ, "RAY_worker_niceness": "0"},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + 60
        while b"Ray runtime started" not in (Path(folder) / "log").read_bytes():
            assert process.poll() is None, (Path(folder) / "log").read_text(encoding="utf-8")
            assert time.monotonic() < deadline
            time.sleep(0.1)
        return process

    def kill_second(self) -> None:
        """As if its plug were pulled."""
        os.killpg(self._nodes[1].pid, signal.SIGKILL)

    def close(self) -> None:
        for node in reversed(self._nodes):
            try:
                os.killpg(node.pid, signal.SIGTERM)
                node.wait(timeout=20)
                os.killpg(node.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            except subprocess.TimeoutExpired:
                os.killpg(node.pid, signal.SIGKILL)
        for folder in self._folders:
            folder.cleanup()


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    made = Cluster()
    try:
        yield made
    finally:
        made.close()


def start(
    cluster: Cluster, config: Path, overrides: list[str], folder: Path
) -> subprocess.Popen[bytes]:
    words = [str(config), json.dumps(overrides), str(folder), cluster.address]
    return subprocess.Popen([sys.executable, "-c", RUN, *words], cwd=APP)


def models(folder: RunFolder) -> dict[str, bytes]:
    """The global model's bytes and those of every kind of device's part."""
    paths = [folder.model, *folder.tiers.glob("*/model.safetensors")]
    return {str(path.relative_to(folder.path)): path.read_bytes() for path in paths}


@pytest.mark.deploy
def test_two_nodes_give_inlines_bytes_even_if_one_is_killed(
    cluster: Cluster,
    demo_config: Path,
    tiny_overrides: list[str],
    tiny_config: Configure,
    tmp_path: Path,
) -> None:
    """Unequal devices on a clock. First both nodes train; in the second run one of them dies after
    round 1."""
    fleet = tmp_path / "fleet.toml"
    fleet.write_text(FLEET, encoding="utf-8")
    overrides = [*SMALL, f"devices.fleet={fleet}"]
    inline = RunFolder(tmp_path / "inline")
    run_federation(tiny_config(*overrides), inline, Backend.INLINE)
    assert len(models(inline)) == 3, "of the run and of two kinds of device"
    assert {Outcome.COUNTED, Outcome.DROPPED} <= {one.outcome for one in inline.events(TaskTimed)}
    overrides = [*tiny_overrides, *overrides]
    both, one = RunFolder(tmp_path / "both"), RunFolder(tmp_path / "one")
    assert start(cluster, demo_config, overrides, both.path).wait(timeout=200) == 0
    assert models(both) == models(inline)
    assert both.events(TaskTimed) == inline.events(TaskTimed)
    assert both.path.with_suffix(".nodes").read_text(encoding="utf-8") == "2"
    process = start(cluster, demo_config, overrides, one.path)
    deadline = time.monotonic() + 100
    while not list(one.checkpoints.glob("round-0000[1-5].safetensors")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    cluster.kill_second()
    assert process.wait(timeout=200) == 0
    assert models(one) == models(inline)
    assert one.events(TaskTimed) == inline.events(TaskTimed)
    assert one.path.with_suffix(".nodes").read_text(encoding="utf-8") == "2"
    assert not any(event.failures for event in one.events(Exchanged))
