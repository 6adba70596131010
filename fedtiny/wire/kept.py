"""Arrays that a device keeps from one message for later ones, so that they travel once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fedtiny.wire.packet import Array, Packet, WireError

KEPT = "kept"
"""Scalar of a packet: ``KEEP`` or ``RECALL``; absent: nothing is kept."""
KEEP, RECALL = "keep", "recall"


def to_keep(packet: Packet) -> Packet:
    """A packet whose arrays the device keeps."""
    return replace(packet, scalars={**packet.scalars, KEPT: KEEP})


def to_recall(packet: Packet) -> Packet:
    """A packet that the arrays kept from an earlier one belong to."""
    return replace(packet, scalars={**packet.scalars, KEPT: RECALL})


def is_to_keep(packet: Packet) -> bool:
    """Whether its arrays are to be kept."""
    return packet.scalars.get(KEPT) == KEEP


def recalled(packet: Packet, kept: Mapping[str, Array] | None) -> Packet:
    """The packet with what it recalls.

    Args:
        packet: any.
        kept: arrays of the last packet that was to be kept; None: there is none.

    Raises:
        WireError: it recalls something, and there is nothing.

    >>> import numpy as np
    >>> later = to_recall(Packet({"trained": np.zeros(2, np.float32)}))
    >>> sorted(recalled(later, {"values": np.ones(3, np.float32)}).arrays)
    ['trained', 'values']
    """
    if packet.scalars.get(KEPT) != RECALL:
        return packet
    if kept is None:
        raise WireError(
            "this node no longer has the model that it was sent before; the server sends it again "
            "in the next round"
        )
    return replace(packet, arrays={**kept, **packet.arrays})
