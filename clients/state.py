"""What a node remembers from one message to the next.

Flower may start a process for every message; what survives is the context's state.
"""

from __future__ import annotations

from flwr.app import Array, ArrayRecord, ConfigRecord, Context

from fedtiny.wire.join import JoinTask
from fedtiny.wire.kept import is_to_keep, recalled
from fedtiny.wire.packet import Packet

_MODEL, _KEPT = "model", "kept"


def receive_model(context: Context, packet: Packet) -> None:
    """Keep the model that the server's first message brings, for all later ones.

    Raises:
        FedTinyError: it is no model.
    """
    if "graph" in packet.scalars:
        graph = JoinTask.read(packet).graph
        context.state[_MODEL] = ConfigRecord({"graph": graph.to_json()})


def model_of(context: Context) -> str:
    """The model as JSON; empty before it came."""
    return str(context.state[_MODEL]["graph"]) if _MODEL in context.state else ""


def recall(context: Context, packet: Packet) -> Packet:
    """Keep arrays that the server says are to be kept; add to a packet those that it recalls.

    Raises:
        WireError: it recalls what this node does not have.
    """
    if is_to_keep(packet):
        arrays = {name: Array(array) for name, array in packet.arrays.items()}
        context.state[_KEPT] = ArrayRecord(arrays)
    record = context.state.get(_KEPT)
    kept = None
    if isinstance(record, ArrayRecord):
        kept = {name: array.numpy() for name, array in record.items()}
    return recalled(packet, kept)
