"""Nodes on the operator's own machine, each with its own key, bundle, state and share of the data.

They go through the same request, approval and program as a device's, so what works here works
there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from fedtiny.config import RunConfig
from fedtiny.data.shares import client_file
from fedtiny.data.simulated import deal_into
from fedtiny.node.keys import load_key, make_key
from fedtiny.node.request import request_of_this_machine
from sims.deploy import admission, audit, flower, processes, registry, superlink
from sims.deploy.home import DeployError, Home
from sims.deploy.registry import Node, Standing

_CONNECT_S = 120.0


def prepare(home: Home, count: int) -> list[Node]:
    """Keys, approvals and shares for ``count`` local nodes; what is there already stays.

    Raises:
        DeployError: the job has another number of partitions, or other nodes hold them.
    """
    job = admission.job_of(home)
    if count != job.data.partitions:
        raise DeployError(
            f"--local {count}: the job is for {job.data.partitions} nodes; "
            f"make a deployment for {count}: init DIR --nodes {count}"
        )
    deal_into(shares_folder(home), job.data, job.seed)
    return [_node(home, job, partition) for partition in range(count)]


def start(home: Home, node: Node) -> bool:
    """Start a local node, unless it runs; whether it did."""
    if processes.running(home, node.name) is not None:
        return False
    folder = home.local / node.name
    command = [
        *(sys.executable, "-m", "fedtiny", "node", str((home.bundles / node.name).resolve())),
        *("--key", str((folder / "node.key").resolve())),
        *("--state", str((folder / "state").resolve())),
    ]
    processes.start(home, node.name, command, flower.environment(home))
    audit.record(home, "local node started", node=node.name)
    return True


def wait(home: Home, nodes: Sequence[Node]) -> None:
    """Until all of these local nodes are connected: the job would begin without the slower ones.

    Raises:
        DeployError: one of them ended, or time is up.
    """
    deadline = time.monotonic() + _CONNECT_S
    waiting = {node.node_id: node.name for node in nodes}
    while waiting:
        gone = [name for name in waiting.values() if processes.running(home, name) is None]
        if gone or time.monotonic() > deadline:
            name = next(iter(gone or waiting.values()))
            raise DeployError(
                f"node {name} {'ended' if gone else 'is not connected'}: "
                f"`python -m sims.deploy logs {home.path} {name}` says why"
            )
        for one in superlink.listed(home):
            if one["status"] == "online":
                waiting.pop(int(one["node-id"]), None)


def shares_folder(home: Home) -> Path:
    """Everybody's samples, and the server's."""
    return home.path.resolve() / "data"


def _node(home: Home, job: RunConfig, partition: int) -> Node:
    name = f"local-{partition}"
    if (home.nodes / f"{name}.json").exists():
        node = registry.load(home, name)
        if node.standing is Standing.REVOKED:
            raise DeployError(f"{name} was revoked; make a new deployment to start over")
        return admission.renew_node(home, name)[0] if node.expired else node
    folder = home.local / name
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "node.key"
    key = load_key(file) if file.exists() else make_key(file)
    request = request_of_this_machine(name, key)
    board = job.devices.board(partition)
    data = str(client_file(shares_folder(home), partition))
    return admission.admit(home, request, partition, board, data, local=True)[0]
