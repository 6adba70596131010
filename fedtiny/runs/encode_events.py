"""What happens when devices that can train nothing send pictures encoded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedtiny.runs.events import Event
from fedtiny.runs.fields import Count


@dataclass(frozen=True, slots=True)
class Encoded(Event):
    """The global model met a device's test pictures as they came out of its codes.

    Attributes:
        partition: of its data.
        count, correct: pictures, and those classified rightly.
        payload_bytes: of all codes.
        refused: why it sent none; empty if it did.
    """

    partition: Count
    count: Count
    correct: Count
    payload_bytes: Count
    refused: str
    event: Literal["encoded"] = "encoded"
