"""What our grids share: nodes' contexts, message ids, and how a client app is called."""

from __future__ import annotations

import pickle
import uuid
from abc import abstractmethod
from collections.abc import Iterable, Mapping

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid
from flwr.supercore.run import Run
from typing_extensions import override

from sims.grids.identity import assume_identity

_FIRST_NODE = 1
_RAISED = 2  # Flower's error code for a ClientApp that raised
_SHARED = 16  # different states that are told apart; what most nodes keep is the same

RunConfig = Mapping[str, bool | float | int | str]


class LocalGrid(Grid):
    """A grid whose nodes are partitions 0 … n−1 of one simulation.

    Nothing is made for a node before it gets a message, and what it keeps between messages is
    stored once if it is what other nodes keep, too: the model, mostly.

    Args:
        partitions: number of nodes.
        run_config: what Flower would give the apps.
    """

    def __init__(self, partitions: int, run_config: RunConfig) -> None:
        assume_identity()
        self._partitions = partitions
        self._run_config = dict(run_config)
        self._states: dict[int, bytes] = {}
        self._shared: dict[bytes, bytes] = {}

    def node_of(self, partition: int) -> int:
        """The node that holds ``partition``."""
        return _FIRST_NODE + partition

    def _state(self, node: int) -> bytes:
        """What a node keeps, see :func:`call`; empty for one that was never asked."""
        return self._states.get(node, b"")

    def _keep(self, node: int, state: bytes) -> None:
        if state not in self._shared:
            while len(self._shared) >= _SHARED:
                del self._shared[next(iter(self._shared))]
            self._shared[state] = state
        self._states[node] = self._shared[state]

    @override
    def set_run(self, run: Run) -> None:
        """Not needed: a local grid serves one run."""

    @property
    @override
    def run(self) -> Run:
        """Not known: a local grid has no SuperLink to register a run with."""
        raise NotImplementedError("a local grid has no Flower run")

    @override
    def create_message(
        self,
        content: RecordDict,
        message_type: str,
        dst_node_id: int,
        group_id: str,
        ttl: float | None = None,
    ) -> Message:
        return Message(content, dst_node_id, message_type, ttl=ttl, group_id=group_id)

    @override
    def get_node_ids(self) -> Iterable[int]:
        return range(_FIRST_NODE, _FIRST_NODE + self._partitions)

    @override
    def send_and_receive(
        self, messages: Iterable[Message], *, timeout: float | None = None
    ) -> Iterable[Message]:
        return self.pull_messages(self.push_messages(messages))

    @abstractmethod
    def close(self) -> None:
        """Free whatever runs the clients."""


def partition_of(node: int) -> int:
    """The inverse of :meth:`LocalGrid.node_of`."""
    return node - _FIRST_NODE


def stamp(message: Message) -> str:
    """Give a message the id a SuperLink would."""
    message.metadata.__dict__["_message_id"] = str(uuid.uuid4())
    return message.metadata.message_id


def call(
    app: ClientApp, message: Message, state: bytes, partitions: int, run_config: RunConfig
) -> tuple[Message, bytes]:
    """Run a client app on a message; whatever it raises comes back as Flower's error reply.

    Args:
        app: the client app.
        message: to a node.
        state: what the node kept; empty for nothing.
        partitions, run_config: of the grid.

    Returns:
        The reply, and what the node keeps now: the same object if that has not changed.
    """
    node = message.metadata.dst_node_id
    context = Context(
        run_id=1,
        node_id=node,
        node_config={"partition-id": partition_of(node), "num-partitions": partitions},
        state=pickle.loads(state) if state else RecordDict(),
        run_config=dict(run_config),
    )
    try:
        reply = app(message=message, context=context)
    except Exception as error:
        reply = Message(
            Error(code=_RAISED, reason=f"{type(error).__name__}: {error}"), reply_to=message
        )
    stamp(reply)
    kept = pickle.dumps(context.state, pickle.HIGHEST_PROTOCOL) if context.state else b""
    return reply, state if kept == state else kept
