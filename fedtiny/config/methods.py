"""The federated methods by name, and what each asks of a device: known to both ends."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal, get_args

Method = Literal[
    "fedtiny",
    "dense",
    "narrow",
    "random",
    "magnitude",
    "erk",
    "snip",
    "synflow",
    "ssfl",
    "prunefl",
    "feddst",
    "fedmef",
    "fedrts",
]
"""Values of ``pruning.method``; each is described in its file under ``strategies/``."""

METHODS: tuple[Method, ...] = get_args(Method)


class DeviceRule(StrEnum):
    """What a device does in a round that adjusts masks, besides training."""

    REPORT = "report"
    """Sends its largest gradients of absent weights (FedTiny)."""
    EXTRUDE = "extrude"
    """The same, and penalizes the weights about to go while it trains (FedMef)."""
    VOTE = "vote"
    """Sends the positions of its largest gradients, not their values (FedRTS)."""
    REGROW = "regrow"
    """Exchanges weights itself, halfway through the round, and sends its mask (FedDST)."""
    SQUARES = "squares"
    """Sends the square of every gradient, of present and absent weights (PruneFL)."""


@dataclass(frozen=True, slots=True)
class Traits:
    """What has to be known about a method before it runs.

    Attributes:
        dense_model: no weight of the graph is ever absent.
        dense_step: devices hold every weight and its gradient at least once.
        adjusts: masks change during training.
        rule: of the rounds in which they do.
    """

    dense_model: bool = False
    dense_step: bool = False
    adjusts: bool = False
    rule: DeviceRule = DeviceRule.REPORT


def traits(method: Method) -> Traits:
    """Of one method.

    >>> traits("feddst").rule.value, traits("snip").adjusts, traits("narrow").dense_model
    ('regrow', False, True)
    """
    return _TRAITS.get(method, Traits())


_TRAITS: dict[Method, Traits] = {
    "fedtiny": Traits(adjusts=True),
    "dense": Traits(dense_model=True, dense_step=True),
    "narrow": Traits(dense_model=True, dense_step=True),
    "ssfl": Traits(dense_step=True),
    "prunefl": Traits(adjusts=True, rule=DeviceRule.SQUARES),
    "feddst": Traits(adjusts=True, rule=DeviceRule.REGROW),
    "fedmef": Traits(adjusts=True, rule=DeviceRule.EXTRUDE),
    "fedrts": Traits(adjusts=True, rule=DeviceRule.VOTE),
}
