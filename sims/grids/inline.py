"""All clients in this process, one after another: no start-up cost, easy to debug."""

from __future__ import annotations

from collections.abc import Iterable

from flwr.app import Message
from flwr.clientapp import ClientApp
from typing_extensions import override

from sims.grids.local import LocalGrid, RunConfig, call, stamp


class InlineGrid(LocalGrid):
    """Runs a message's client when its reply is pulled, so that progress can be shown between.

    Args:
        app: the client app.
        partitions, run_config: as for :class:`~sims.grids.local.LocalGrid`.
    """

    def __init__(self, app: ClientApp, partitions: int, run_config: RunConfig) -> None:
        super().__init__(partitions, run_config)
        self._app = app
        self._waiting: dict[str, Message] = {}

    @override
    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pushed = {stamp(message): message for message in messages}
        self._waiting.update(pushed)
        return list(pushed)

    @override
    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        for message_id in message_ids:
            message = self._waiting.pop(message_id)
            node = message.metadata.dst_node_id
            settings = self._partitions, self._run_config
            reply, state = call(self._app, message, self._state(node), *settings)
            self._keep(node, state)
            yield reply

    @override
    def close(self) -> None:
        """Nothing to free."""
