"""What happens in a run, as types: every line of ``metrics.jsonl`` is one of these.

A kind's JSON has the fields of its class and ``event``, its name. Reading checks types and ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

from pydantic import ConfigDict

from fedtiny.runs.event_parts import Failure, Group, PassedOver, Story, Traffic
from fedtiny.runs.fields import Count, Ledger, Share
from fedtiny.tiers.tier import Tier
from fedtiny.wire.measured import Measured
from fedtiny.wire.phase import Phase

_STRICT = ConfigDict(extra="forbid", strict=True, ser_json_inf_nan="constants")


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened.

    Attributes:
        round: in which; 0 before training, rounds + 1 after it.
    """

    __pydantic_config__: ClassVar[ConfigDict] = _STRICT

    round: Count


@dataclass(frozen=True, slots=True)
class RunStarted(Event):
    """What the model costs while nothing is pruned.

    Attributes:
        engine: that trains.
        model: its name.
        parameters, statistics: trained numbers, and running ones of batch norm.
        training_flops_dense: of one sample in one training step.
    """

    engine: str
    model: str
    parameters: Count
    statistics: Count
    training_flops_dense: Count
    event: Literal["start"] = "start"


@dataclass(frozen=True, slots=True)
class DeviceDescribed(Event):
    """A device introduced itself.

    Attributes:
        partition: of the data it holds.
        samples: to train on.
        ledger: its predicted training memory; None without a budget.
        measured: what it measured of itself; None of a simulated one.
        tier: the largest part of the model that it can train; None where all train all of it.
        refused: why it trains no part of the model; empty if it does.
        passed_over: parts that would be better, each with the reason why it is not the device's.
    """

    partition: Count
    samples: Count
    ledger: Ledger | None
    measured: Measured | None = None
    tier: Tier | None = None
    refused: str = ""
    passed_over: tuple[PassedOver, ...] = ()
    event: Literal["device"] = "device"


@dataclass(frozen=True, slots=True)
class Pretrained(Event):
    """The server trained on public samples.

    Attributes:
        seconds: it took.
        samples, epochs: it saw.
        accuracy: on those samples.
    """

    seconds: float
    samples: Count
    epochs: Count
    accuracy: Share
    event: Literal["pretrained"] = "pretrained"


@dataclass(frozen=True, slots=True)
class ModelState(Event):
    """The global model that the next round trains.

    Attributes:
        density: share of the prunable weights that is left.
        density_all: share of all parameters.
        training_flops: of one sample in one training step.
        densities: by prunable layer.
    """

    density: Share
    density_all: Share
    training_flops: Count
    densities: Mapping[str, Share]


@dataclass(frozen=True, slots=True)
class ModelPrepared(ModelState):
    """The model of round 1.

    Attributes:
        story: how it was made.
    """

    story: Story
    event: Literal["prepared"] = "prepared"


@dataclass(frozen=True, slots=True)
class Exchanged(Event):
    """Every device asked has answered, failed, or run out of time.

    Attributes:
        phase: it belongs to.
        asked, answered: devices.
        down, up: bytes sent to devices and by them.
        failures: of those that did not answer as they should.
        seconds: from the first message to the last.
    """

    phase: Phase
    asked: Count
    answered: Count
    down: Traffic
    up: Traffic
    failures: tuple[Failure, ...]
    seconds: float
    event: Literal["exchange"] = "exchange"


@dataclass(frozen=True, slots=True)
class Doubted(Event):
    """A device's reply was well-formed, but not believed.

    Attributes:
        phase: it belongs to.
        partition: of the device.
        reason: in words.
    """

    phase: Phase
    partition: Count
    reason: str
    event: Literal["doubted"] = "doubted"


@dataclass(frozen=True, slots=True)
class Banned(Event):
    """A device is not asked again.

    Attributes:
        partition: of the device.
        offences: replies that were refused or not believed.
    """

    partition: Count
    offences: Count
    event: Literal["banned"] = "banned"


@dataclass(frozen=True, slots=True)
class NodeIgnored(Event):
    """A node connected that takes no part.

    Attributes:
        node: its id, as Flower writes it.
        reason: in words.
    """

    node: str
    reason: str
    event: Literal["node"] = "node"


@dataclass(frozen=True, slots=True)
class Metered(Event):
    """A device measured the memory of a training step.

    Attributes:
        partition: of its data.
        ledger: its prediction with the measured peak filled in.
    """

    partition: Count
    ledger: Ledger
    event: Literal["metered"] = "metered"


@dataclass(frozen=True, slots=True)
class Evaluated(Event):
    """The global model met one person's test samples.

    Attributes:
        group: that the person belongs to.
        who: partition of a participant, or owner of unseen samples.
        count, correct: samples, and those classified rightly.
        loss_sum: cross-entropy, nats.
        confusion: classes × classes samples, rows are the true class.
    """

    group: Group
    who: Count
    count: Count
    correct: Count
    loss_sum: float
    confusion: tuple[tuple[Count, ...], ...]
    event: Literal["evaluation"] = "evaluation"

    def __post_init__(self) -> None:
        classes = len(self.confusion)
        if any(len(row) != classes for row in self.confusion):
            raise ValueError("confusion should have a row and a column for each class")
        if self.count != sum(map(sum, self.confusion)):
            raise ValueError("count should be the sum of confusion")
        if self.correct != sum(self.confusion[k][k] for k in range(classes)):
            raise ValueError("correct should be the sum of confusion's diagonal")


@dataclass(frozen=True, slots=True)
class TierGiven(Event):
    """A device is to train this part of the model from now on.

    Attributes:
        partition: of the data it holds.
        tier: which part; not always the largest that it can hold.
    """

    partition: Count
    tier: Tier
    event: Literal["tier_given"] = "tier_given"


@dataclass(frozen=True, slots=True)
class TierMissing(Event):
    """Devices that train this part were asked, and none of them counted in this round.

    What no other device holds of the model stays as it was.

    Attributes:
        tier: which part.
        asked: its devices.
    """

    tier: Tier
    asked: Count
    event: Literal["tier_missing"] = "tier_missing"


@dataclass(frozen=True, slots=True)
class TierEvaluated(Event):
    """A part of the global model met all samples of the people who took no part.

    Attributes:
        tier: which part.
        devices: that train it; 0 for one that nobody trains.
        nnz: prunable weights that it holds.
        count, correct: samples, and those classified rightly.
    """

    tier: Tier
    devices: Count
    nnz: Count
    count: Count
    correct: Count
    event: Literal["tier"] = "tier"


@dataclass(frozen=True, slots=True)
class Adjusted(Event):
    """Masks changed after a round.

    Attributes:
        exchanged: weights grown by layer.
    """

    exchanged: Mapping[str, Count]
    event: Literal["adjusted"] = "adjusted"


@dataclass(frozen=True, slots=True)
class RoundFinished(ModelState):
    """A round of training is over.

    Attributes:
        loss: mean over devices while they trained, nats.
        seconds: it took.
        adjustment_flops: of one device besides training, for the gradients asked for.
    """

    loss: float
    seconds: float
    adjustment_flops: Count
    event: Literal["round"] = "round"


@dataclass(frozen=True, slots=True)
class Stopped(Event):
    """The run ends after this round, before its last one: nothing was gained any more.

    Attributes:
        rounds_since: rounds since the training loss was lowest.
    """

    rounds_since: Count
    event: Literal["stopped"] = "stopped"


@dataclass(frozen=True, slots=True)
class RunFinished(Event):
    """The run is over.

    Attributes:
        seconds: since it started, or was resumed.
    """

    seconds: float
    event: Literal["end"] = "end"
