"""The nodes of a deployment: one JSON file each, written whole or not at all."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, ValidationError

from sims.deploy.home import DeployError, Home


class Standing(StrEnum):
    """What a node may do."""

    APPROVED = "approved"
    """Its key is added to the SuperLink whenever that starts."""
    REVOKED = "revoked"
    """Its key is never added again."""


class Node(BaseModel):
    """One node as its operator knows it.

    ``node_id`` is the SuperLink's name for it, 0 while the SuperLink does not know its key.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    standing: Standing
    partition: int
    public_key: str
    fingerprint: str
    device: str = ""
    ram_bytes: int = 0
    memory_max_bytes: int
    data: str
    valid_until: datetime
    local: bool = False
    node_id: int = 0

    @property
    def expired(self) -> bool:
        """Whether its bundle must be renewed."""
        return self.valid_until < datetime.now(UTC)

    @property
    def days_left(self) -> int:
        """Whole days until then."""
        return (self.valid_until - datetime.now(UTC)).days


def all_nodes(home: Home) -> list[Node]:
    """In order of their names."""
    return [load(home, path.stem) for path in sorted(home.nodes.glob("*.json"))]


def load(home: Home, name: str) -> Node:
    """The node called ``name``.

    Raises:
        DeployError: there is none (the message lists those there are), or its file is damaged.
    """
    path = home.nodes / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(one.stem for one in home.nodes.glob("*.json"))) or "none yet"
        raise DeployError(f"no node called {name!r} in {home.path}; there are: {known}")
    try:
        return Node.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise DeployError(f"{path} is damaged: {error}") from error


def save(home: Home, node: Node) -> None:
    """Write or replace its file."""
    path = home.nodes / f"{node.name}.json"
    part = path.with_suffix(".part")
    part.write_text(node.model_dump_json(indent=1) + "\n", encoding="utf-8")
    part.replace(path)


def check_new(home: Home, name: str, public_key: str, partition: int) -> None:
    """See that a node can be let in beside those there are.

    Raises:
        DeployError: its name, its key or its partition is another one's; a revoked key stays out.
    """
    for other in all_nodes(home):
        if other.public_key == public_key and other.standing is Standing.REVOKED:
            raise DeployError(
                f"the key was revoked (node {other.name}): it is never let in again; "
                "make a new one on the device"
            )
        if other.name == name:
            raise DeployError(
                f"there is a node called {name} ({other.standing}): choose another name, or renew "
                "its bundle"
            )
        if other.public_key == public_key:
            raise DeployError(f"the key is that of node {other.name}: every node has its own")
        if other.standing is Standing.APPROVED and other.partition == partition:
            raise DeployError(f"partition {partition} is held by node {other.name}")
