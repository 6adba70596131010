"""What our grids share: node contexts, message ids, and how a client app is called."""

from __future__ import annotations

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

RunConfig = Mapping[str, bool | float | int | str]


class LocalGrid(Grid):
    """A grid whose nodes are partitions 0 … n−1 on this machine.

    Args:
        partitions: number of nodes.
        run_config: what Flower would give the apps.
    """

    def __init__(self, partitions: int, run_config: RunConfig) -> None:
        assume_identity()
        self._partitions = partitions
        self._run_config = dict(run_config)
        self._contexts: dict[int, Context] = {}

    def node_of(self, partition: int) -> int:
        """The node that holds ``partition``."""
        return _FIRST_NODE + partition

    def _context(self, node: int) -> Context:
        """A node's context, made when it is first needed: a run may ask few of many nodes."""
        if node not in self._contexts:
            partition = node - _FIRST_NODE
            self._contexts[node] = Context(
                run_id=1,
                node_id=node,
                node_config={"partition-id": partition, "num-partitions": self._partitions},
                state=RecordDict(),
                run_config=self._run_config,
            )
        return self._contexts[node]

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


def stamp(message: Message) -> str:
    """Give a message the id a SuperLink would."""
    message.metadata.__dict__["_message_id"] = str(uuid.uuid4())
    return message.metadata.message_id


def call(app: ClientApp, message: Message, context: Context) -> Message:
    """Run a client app; whatever it raises comes back as Flower's error reply."""
    try:
        reply = app(message=message, context=context)
    except Exception as error:
        reply = Message(
            Error(code=_RAISED, reason=f"{type(error).__name__}: {error}"), reply_to=message
        )
    stamp(reply)
    return reply
