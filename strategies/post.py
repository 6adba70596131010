"""Messages to nodes and back, over whatever grid carries them."""

from __future__ import annotations

import time
from collections.abc import Mapping
from math import inf
from typing import Protocol, runtime_checkable

from flwr.app import Message, RecordDict
from flwr.serverapp import Grid

_SHORTEST_POLL_S, _LONGEST_POLL_S = 0.005, 0.5
_POLL_SHARE = 0.05
"""Of the time already waited: a reply is noticed at most 5 % late. And at most so much of the time
goes into asking, which over a network costs the server, too."""


@runtime_checkable
class SimulatedGrid(Protocol):
    """A simulator's grid.

    It knows which node holds which partition, without asking. And it waits for replies while they
    are pulled: asking costs nobody anything, and clients work on only while somebody asks.
    """

    def node_of(self, partition: int) -> int:
        """The node that holds ``partition``."""


class Post:
    """Sends messages to nodes and waits for their replies.

    Args:
        grid: Flower's, or one of ours.
        timeout_s: for the replies to one delivery.
    """

    def __init__(self, grid: Grid, timeout_s: float) -> None:
        self._grid = grid
        self.timeout_s = timeout_s

    @property
    def knows_partitions(self) -> bool:
        """Whether the grid can say who holds what."""
        return isinstance(self._grid, SimulatedGrid)

    def node_of(self, partition: int) -> int:
        """The node that holds ``partition``, on a grid that knows it."""
        assert isinstance(self._grid, SimulatedGrid)
        return self._grid.node_of(partition)

    def nodes(self) -> list[int]:
        """Ids of the nodes that are connected now, ascending."""
        return sorted(self._grid.get_node_ids())

    def wait_for(self, count: int, at_most_s: float = inf) -> list[int]:
        """The connected nodes, as soon as there are ``count``; fewer when time is up."""
        limit_s = min(at_most_s, self.timeout_s)
        started = time.monotonic()
        while True:
            nodes = self.nodes()
            waited = time.monotonic() - started
            if len(nodes) >= count or waited > limit_s:
                return nodes
            time.sleep(_pause(waited, 0.0))

    def deliver(
        self,
        contents: Mapping[int, RecordDict],
        action: str,
        round: int,
        enough: int | None = None,
    ) -> dict[int, Message]:
        """Replies by node id, in the order of their arrival.

        A lost node's error has no source: replies are matched by message.

        Args:
            contents: what to send, by node id.
            action: Flower's message type.
            round: for Flower's own log.
            enough: go on as soon as so many replies carry content; what comes later is never read.
        """
        messages = addressed(contents, action, round)
        nodes = dict(zip(self._grid.push_messages(messages), contents, strict=True))
        wanted = len(nodes) if enough is None else min(enough, len(nodes))
        replies: dict[int, Message] = {}
        started = time.monotonic()
        pending = set(nodes)
        good, asking_s = 0, 0.0
        while pending and good < wanted:
            asked, before = time.monotonic(), len(replies)
            for reply in self._grid.pull_messages(list(pending)):
                message_id = reply.metadata.reply_to_message_id
                pending.discard(message_id)
                replies[nodes[message_id]] = reply
                good += reply.has_content()
                if good >= wanted:
                    break
            now = time.monotonic()
            waited = now - started
            if not pending or good >= wanted or waited > self.timeout_s:
                break
            if self.knows_partitions:
                if len(replies) == before:
                    time.sleep(_SHORTEST_POLL_S)  # should it not have waited
                continue
            if len(replies) == before:  # else it is replies that took the time
                asking_s = now - asked
            time.sleep(_pause(waited, asking_s))
        return replies


def addressed(contents: Mapping[int, RecordDict], action: str, round: int) -> list[Message]:
    """A Flower message for each node, in the order of ``contents``."""
    group = str(round)
    return [Message(content, node, action, group_id=group) for node, content in contents.items()]


def _pause(waited_s: float, asking_s: float) -> float:
    wanted = max(_SHORTEST_POLL_S, _POLL_SHARE * waited_s, asking_s / _POLL_SHARE)
    return min(_LONGEST_POLL_S, wanted)
