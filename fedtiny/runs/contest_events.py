"""What happens when devices choose among shapes, or parts, of the model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedtiny.runs.events import Event
from fedtiny.runs.fields import Count, Nats
from fedtiny.tiers.tier import Tier


@dataclass(frozen=True, slots=True)
class ShapeCompared(Event):
    """Devices measured one shape before round 1.

    Attributes:
        tier: the shape.
        nnz: prunable weights it has.
        loss: mean over the development samples of all devices, nats.
        excess: of the loss over the best shape's.
        error: standard error of the excess, over devices.
        devices: that measured it.
        chosen: whether all devices train this one.
    """

    tier: Tier
    nnz: Count
    loss: Nats
    excess: Nats
    error: Nats
    devices: Count
    chosen: bool
    event: Literal["shape"] = "shape"


@dataclass(frozen=True, slots=True)
class PartCompared(Event):
    """Devices measured one part of the model after a round, to choose the global one.

    Attributes:
        tier: the part.
        loss: mean over the development samples of all devices, nats.
        excess: of the loss over the best part's.
        error: standard error of the excess, over devices.
        devices: that measured it.
        chosen: whether it is the global model now.
    """

    tier: Tier
    loss: Nats
    excess: Nats
    error: Nats
    devices: Count
    chosen: bool
    event: Literal["part"] = "part"
