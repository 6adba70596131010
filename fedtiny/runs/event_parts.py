"""What events of a run consist of: bytes, failures, and how the first model was made."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Required

from pydantic import ConfigDict
from typing_extensions import TypedDict

from fedtiny.runs.fields import Count, Share
from fedtiny.tiers.tier import Tier

Group = Literal["same_people", "unseen_people"]
"""Whose samples: the participants' own, or those of people who took no part."""

_OPEN = ConfigDict(extra="allow", ser_json_inf_nan="constants")


@dataclass(frozen=True, slots=True)
class Traffic:
    """Bytes that one exchange moved in one direction.

    Attributes:
        payload: bytes of our encodings.
        wire: bytes as Flower serializes the messages.
        kinds: payload bytes by kind of array or scalar.
    """

    payload: Count
    wire: Count
    kinds: Mapping[str, Count]


@dataclass(frozen=True, slots=True)
class Failure:
    """One client that did not answer as it should.

    Attributes:
        partition: it holds.
        reason: in words.
        refused: it did answer, but not what a device of FedTiny sends: an offence.
    """

    partition: Count
    reason: str
    refused: bool = False

    def __str__(self) -> str:
        return f"client {self.partition}: {self.reason}"


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A part of the model that a device does not train, although it would be better.

    Attributes:
        tier: which part.
        reason: in words.
    """

    tier: Tier
    reason: str


class Heat(TypedDict):
    """A heat of a race between shapes of the model, widest first.

    Keys:
        widths: shares of the channels.
        weights: prunable weights.
        bytes: of each on the wire.
        losses: mean over devices' development samples after it, nats.
        excesses, errors: over the best one's, with its standard error over devices.
        left: positions of those that go on.
    """

    widths: list[Share]
    weights: list[Count]
    bytes: list[Count]
    losses: list[float]
    excesses: list[float]
    errors: list[float]
    left: list[Count]


class Race(TypedDict):
    """How one of several shapes was found.

    Keys:
        laps: rounds' worth of training that it took.
        training_flops: of one sample in one step, summed over laps, mean over devices.
        heats: in order.
    """

    laps: Count
    training_flops: Count
    heats: list[Heat]


class Story(TypedDict, total=False):
    """How the first model was made. A method adds what else it has to tell.

    Keys:
        method: its name.
        scores: what weights were ranked by, ``"random"`` if nothing was known of them.
        selection: how one of several candidates was chosen.
        chosen: its index.
        losses: mean loss of each candidate, nats; empty if nobody measured them.
        densities: of each candidate by layer.
        race: between shapes of the model, where there was one.
    """

    __pydantic_config__ = _OPEN  # type: ignore[misc]  # a setting of pydantic's, not a key
    method: Required[str]
    scores: str
    selection: str
    chosen: Count
    losses: list[float]
    densities: list[dict[str, Share]]
    race: Race
