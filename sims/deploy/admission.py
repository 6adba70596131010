"""Let a device in, renew what it was given, keep it out."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fedtiny.config import RunConfig
from fedtiny.config import load as load_config
from fedtiny.devices.catalog import get
from fedtiny.node.places import STATE
from fedtiny.node.request import Request, read_request
from sims.deploy import audit, registry
from sims.deploy.bundle import write_bundle
from sims.deploy.home import DeployError, Home
from sims.deploy.registry import Node, Standing

NODE_DAYS = 365
FLOWER_BYTES = 400 << 20
"""What a node and a sparse client take at most without the training step's own memory."""

_PATH = re.compile(r"/[\w./+-]*")


def job_of(home: Home) -> RunConfig:
    """The run that the deployment's nodes take part in."""
    return load_config(home.job)


def approve(
    home: Home,
    request_file: Path,
    partition: int | None = None,
    device: str = "",
    data: str = "",
    fingerprint: str = "",
) -> tuple[Node, Path]:
    """Let the maker of a request in, and write its bundle.

    Args:
        home: of the deployment.
        request_file: what the device's ``request`` wrote.
        partition: the data it holds; the lowest that no node holds if None.
        device: its board; what the device says of itself if empty.
        data: path of its samples on the device.
        fingerprint: that the key must have, as the device showed it; any if empty.

    Raises:
        FedTinyError: the request or the key is not acceptable, or name or partition is taken.
    """
    request = read_request(request_file)
    if fingerprint and fingerprint != request.fingerprint:
        raise DeployError(
            f"the key in {request_file} is {request.fingerprint}, not {fingerprint}: the request "
            "is not the one that the device made"
        )
    return admit(home, request, partition, device, data)


def admit(
    home: Home,
    request: Request,
    partition: int | None = None,
    device: str = "",
    data: str = "",
    local: bool = False,
) -> tuple[Node, Path]:
    """Let a checked request in; arguments and errors as :func:`approve`."""
    job = job_of(home)
    place = _partition(home, job, partition)
    registry.check_new(home, request.name, request.public_key, place)
    board = device or request.board
    node = Node(
        name=request.name,
        standing=Standing.APPROVED,
        partition=place,
        public_key=request.public_key,
        fingerprint=request.fingerprint,
        device=board,
        ram_bytes=request.ram_bytes,
        memory_max_bytes=_memory_max(board, job, request.ram_bytes),
        data=_data(data or f"{STATE}/data/share-{place:05d}.npz"),
        valid_until=_until(),
        local=local,
    )
    registry.save(home, node)
    folder = write_bundle(home, node, job)
    facts = {"fingerprint": node.fingerprint, "partition": place, "device": board}
    audit.record(home, "approve", node=node.name, **facts)
    return node, folder


def renew_node(home: Home, name: str) -> tuple[Node, Path]:
    """Issue an approved node's bundle again, for another year.

    Raises:
        DeployError: there is no such node, or it was revoked.
    """
    node = registry.load(home, name)
    if node.standing is Standing.REVOKED:
        raise DeployError(f"node {name} was revoked: it is not renewed; approve a new key")
    node = node.model_copy(update={"valid_until": _until()})
    registry.save(home, node)
    folder = write_bundle(home, node, job_of(home))
    audit.record(home, "renew", node=name, valid_until=node.valid_until.isoformat())
    return node, folder


def _until() -> datetime:
    return (datetime.now(UTC) + timedelta(days=NODE_DAYS)).replace(microsecond=0)


def _partition(home: Home, job: RunConfig, wanted: int | None) -> int:
    count = job.data.partitions
    taken = {one.partition for one in registry.all_nodes(home) if one.standing != Standing.REVOKED}
    free = [one for one in range(count) if one not in taken]
    if wanted is None:
        if not free:
            raise DeployError(
                f"all {count} partitions are held (data.partitions of {home.job.name}): revoke a "
                "node, or init a deployment for more"
            )
        return free[0]
    if not 0 <= wanted < count:
        raise DeployError(f"--partition {wanted}: the job has partitions 0 to {count - 1}")
    return wanted


def _memory_max(board: str, job: RunConfig, ram: int) -> int:
    """The node's limit: what Flower and Python take, and the board's budget for a training step."""
    if not board:
        return max(FLOWER_BYTES, ram * 3 // 4)
    profile = get(board, job.devices.catalog)
    if not profile.trains:
        raise DeployError(f"{profile.title} does not train: see `fedtiny doctor --board {board}`")
    return FLOWER_BYTES + profile.training_budget_bytes


def _data(path: str) -> str:
    if not _PATH.fullmatch(path):
        raise DeployError(
            f"--data {path!r}: an absolute path of letters, digits and ._+-/ on the device, e.g. "
            f"{STATE}/data/mine.npz"
        )
    return path
