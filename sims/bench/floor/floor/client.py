"""A client that answers nothing at all."""

from __future__ import annotations

from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """An empty reply."""
    del context
    return Message(RecordDict(), reply_to=message)
