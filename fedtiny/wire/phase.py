"""The phases of a run, in the order in which they happen; one entry says all about one."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Self

from fedtiny.wire import (
    adapt,
    calibrate,
    candidates,
    describe,
    encode,
    evaluate,
    join,
    saliency,
    train,
)

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Phase(StrEnum):
    """What the server is doing; every byte on the wire belongs to one phase.

    The messages of a phase are in the file whose fields its entry names; what a device does is in
    ``clients/handlers.py``.

    Attributes:
        label: in a table. (``title`` is a method of every string.)
        doing: what a person reads while it goes on.
        replies: what each array or number of a device's reply is, by kind.

    >>> Phase.TRAIN.label, Phase.JOIN.doing, Phase("calibrate").replies["ranges"]
    ('train', 'waiting for devices', 'smallest and largest activation of every layer')
    """

    label: str
    doing: str
    replies: Mapping[str, str]

    JOIN = ("join", "join", "waiting for devices", join.FIELDS)
    """Every node gets the model and says which partition it holds."""
    DESCRIBE = (
        "describe",
        "describe data and memory",
        "devices introduce themselves",
        describe.FIELDS,
    )
    """Devices introduce themselves: samples, input statistics, memory plan."""
    PRETRAIN = ("pretrain", "pre-train", "pre-training on the server")
    """The server trains on public samples; nothing is sent."""
    CANDIDATE_STATISTICS = (
        "candidate_statistics",
        "selection, first trip",
        "candidates: batch norm",
        candidates.FIELDS,
    )
    """First trip of adaptive batch-norm selection."""
    CANDIDATE_LOSSES = (
        "candidate_losses",
        "selection, second trip",
        "candidates: losses",
        candidates.FIELDS,
    )
    """Second trip of adaptive batch-norm selection."""
    SALIENCY = ("saliency", "score weights", "devices score weights", saliency.FIELDS)
    """Devices score every weight of the dense model once (SSFL)."""
    TRAIN = ("train", "train", "devices train", train.FIELDS)
    """A federated round; a method's device half may send more (``DeviceHalf.sends``)."""
    EVALUATE = ("evaluate", "evaluate", "devices evaluate", evaluate.FIELDS)
    """The global model on every device's test samples."""
    CALIBRATE = ("calibrate", "calibrate int8", "devices calibrate", calibrate.FIELDS)
    """Activation ranges for quantization."""
    ADAPT = ("adapt", "adapt", "devices adapt the model", adapt.FIELDS)
    """After the rounds: devices learn of their own data (``federation.adapt``)."""

    ENCODE = ("encode", "encode", "devices send pictures as codes", encode.FIELDS)
    """After the rounds: who can train nothing sends its test pictures encoded, if it may."""

    def __new__(
        cls, value: str, label: str = "", doing: str = "", replies: Mapping[str, str] = _NOTHING
    ) -> Self:
        """A string with words of its own."""
        phase = str.__new__(cls, value)
        phase._value_ = value
        phase.label, phase.doing, phase.replies = label, doing, replies
        return phase

    @property
    def action(self) -> str:
        """Flower message type that asks devices for it.

        >>> Phase.TRAIN.action, Phase.DESCRIBE.action
        ('train', 'query.describe')
        """
        if self in (Phase.TRAIN, Phase.EVALUATE):
            return self.value
        return f"query.{self.value}"
