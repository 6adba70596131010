"""The ClientApp: one Flower action per phase, all of them from one table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from flwr.app import Context, Error, Message
from flwr.clientapp import ClientApp

from clients.device import device_of
from clients.handlers import HANDLERS, Handler
from clients.job import check_task, job_of
from clients.records import task_of, to_packet, to_record
from clients.state import recall, receive_model
from fedtiny.memory.allocator import trim
from fedtiny.wire.part import part_width
from fedtiny.wire.phase import Phase

_CLIENT_APP_RAISED = 2  # Flower's error code for it


def respond(message: Message, context: Context, handler: Handler) -> Message:
    """Run a handler on a message; whatever it raises goes back as an error that names it.

    Flower would send its own error reply, but not every backend keeps the exception's words.
    """
    try:
        task = task_of(message.content)
        check_task(job_of(context.run_config), task, context.run_config["config"])
        packet = to_packet(message.content)
        receive_model(context, packet)
        packet = recall(context, packet)
        device = device_of(context).at(part_width(packet))
        answer = to_record(handler(device, packet), task)
        return Message(answer, reply_to=message)
    except Exception as error:
        logging.getLogger("fedtiny").debug("handler failed", exc_info=True)
        reason = f"{type(error).__name__}: {error}"
        return Message(Error(code=_CLIENT_APP_RAISED, reason=reason), reply_to=message)
    finally:
        if "data" in context.node_config:  # a device, whose node and system need the memory
            trim()


Respond = Callable[[Message, Context, Handler], Message]
"""What makes a reply of a message, the node's context and the phase's handler."""


def client_app(table: Mapping[Phase, Handler], respond: Respond = respond) -> ClientApp:
    """The app that answers every phase of ``table``."""
    made = ClientApp()
    for phase, handler in table.items():
        _register(made, phase, handler, respond)
    return made


def _register(made: ClientApp, phase: Phase, handler: Handler, respond: Respond) -> None:
    def answer(message: Message, context: Context) -> Message:
        return respond(message, context, handler)

    category, _, name = phase.action.partition(".")
    decorate = {"train": made.train, "evaluate": made.evaluate, "query": made.query}[category]
    decorate(name or "default")(answer)


app = client_app(HANDLERS)
