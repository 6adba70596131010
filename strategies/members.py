"""Who takes part: which node holds which partition, from its first message to its return."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Claim:
    """What a node says of itself.

    Attributes:
        node: its id. Flower draws it anew in every run.
        partition: that it says it holds.
    """

    node: int
    partition: int


class Members:
    """Nodes by partition. Everything is addressed and ordered by partition.

    Args:
        partitions: of the run, 0..partitions − 1.

    Attributes:
        nodes: node id by partition, ascending by partition.
    """

    def __init__(self, partitions: int) -> None:
        self._partitions = partitions
        self._known: set[int] = set()
        self.nodes: dict[int, int] = {}

    def strangers(self, online: list[int]) -> list[int]:
        """Connected nodes that were not asked yet whom they hold, or that were away since."""
        self._known &= set(online)
        return [node for node in online if node not in self._known]

    def admit(self, claims: list[Claim], online: list[int]) -> dict[int, str]:
        """Take nodes in; who is not, with the reason.

        A node that holds no partition of this run, or one that another connected node holds
        already, takes no part. Who of two is right nobody here can know: the first stays, and of
        two at once the one with the lower id. A node that went away loses its place to one that
        comes back with its partition.

        Args:
            claims: of nodes that were asked.
            online: all that are connected.
        """
        ignored: dict[int, str] = {}
        for claim in sorted(claims, key=lambda one: one.node):
            self._known.add(claim.node)
            holder = self.nodes.get(claim.partition)
            if claim.partition >= self._partitions:
                ignored[claim.node] = (
                    f"partition {claim.partition} is none of 0..{self._partitions - 1}"
                )
            elif holder is not None and holder != claim.node and holder in online:
                ignored[claim.node] = (
                    f"nodes {holder} and {claim.node} both hold partition {claim.partition}; "
                    "give each SuperNode its own partition-id"
                )
            else:
                self.nodes[claim.partition] = claim.node
        self.nodes = dict(sorted(self.nodes.items()))
        return ignored

    def present(self, online: list[int]) -> Mapping[int, int]:
        """Node ids of the partitions whose node is connected."""
        connected = set(online)
        return {k: node for k, node in self.nodes.items() if node in connected}

    def missing(self, online: list[int]) -> list[int]:
        """Partitions that no connected node holds, ascending."""
        present = self.present(online)
        return [k for k in range(self._partitions) if k not in present]
