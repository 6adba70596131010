"""What happens when devices adapt the finished model to their own data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fedtiny.runs.event_parts import Group
from fedtiny.runs.events import Event
from fedtiny.runs.fields import Count, Nats


@dataclass(frozen=True, slots=True)
class Adapted(Event):
    """A device learned of its own data.

    Attributes:
        lesson: round of learning, counted from 1.
        partition: of its data.
        samples: that it learned from.
        loss: mean over its steps, nats.
        count: its test samples.
        correct_before, correct_after: of these, by the finished model, and by what it learned.
        micro_batch: samples per forward pass.
        saved_bytes: what a forward pass leaves for the backward pass.
        predicted_peak_bytes, peak_bytes: every array of a step, planned and measured.
    """

    lesson: Count
    partition: Count
    samples: Count
    loss: Nats
    count: Count
    correct_before: Count
    correct_after: Count
    micro_batch: Count
    saved_bytes: Count
    predicted_peak_bytes: Count
    peak_bytes: Count
    event: Literal["adapted"] = "adapted"


@dataclass(frozen=True, slots=True)
class AdaptedTested(Event):
    """What devices learned together met one person's test samples.

    Attributes:
        group: that the person belongs to.
        who: partition of a participant, or owner of unseen samples.
        count: samples.
        correct_before, correct_after: classified rightly by the finished model, and by the adapted.
    """

    group: Group
    who: Count
    count: Count
    correct_before: Count
    correct_after: Count
    event: Literal["adapted_tested"] = "adapted_tested"
