"""One round, pure: ``begin`` says what to ask of whom, ``finish`` what the replies make of it.

Whoever carries messages stands between the two: our own loop, Flower's strategies, a simulator with
a clock of its own. The same state and the same replies always give the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from fedtiny.aggregation.bounds import capped_counts, implausible_updates
from fedtiny.aggregation.config import TrustConfig
from fedtiny.aggregation.mean import AggregateError
from fedtiny.aggregation.models import mean_loss
from fedtiny.config.sections import StoppingConfig
from fedtiny.federation.sampling import sample
from fedtiny.federation.state import ServerState
from fedtiny.federation.stopping import Progress
from fedtiny.methods.method import Method, RoundEnd
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.wire.packet import Packet, WireError, check_magnitude
from fedtiny.wire.train import TrainResult, TrainTask

METERED_ROUND = 1
"""The round in which devices also measure their memory."""


@dataclass(frozen=True, slots=True)
class Federation:
    """What no round changes.

    Attributes:
        graph: the model.
        method: that prunes it.
        partitions: number of devices.
        clients_per_round: that train in a round; 0 for all.
        seed: of the run.
        trust: what is believed of devices.
        stopping: when the run ends early.
    """

    graph: Graph
    method: Method[Any]
    partitions: int
    clients_per_round: int
    seed: int
    trust: TrustConfig
    stopping: StoppingConfig

    def is_over(self, state: ServerState) -> bool:
        """Whether the run ends with ``state``: nothing was gained for too long."""
        return state.progress.is_over(self.stopping)

    def asked(self, offences: Mapping[int, int]) -> list[int]:
        """The partitions that are asked at all, ascending: those not banned for their offences."""
        most = self.trust.max_offences or inf
        return [k for k in range(self.partitions) if offences.get(k, 0) < most]

    def participants(self, offences: Mapping[int, int], round: int) -> list[int]:
        """The partitions that train in ``round``, ascending."""
        return participants(self.seed, round, self.asked(offences), self.clients_per_round)


@dataclass(frozen=True, slots=True, eq=False)
class RoundTask:
    """What a round asks.

    Attributes:
        round: counted from 1.
        quotas: how many weights may change, by layer; empty: none.
        tasks: by partition, ascending. Devices may get the same object or tasks of their own.
    """

    round: int
    quotas: Mapping[str, int]
    tasks: Mapping[int, TrainTask]

    def packets(self, graph: Graph) -> dict[int, Packet]:
        """The tasks as messages; one that several devices get is packed once."""
        packed = {id(task): task.packet(graph) for task in self.tasks.values()}
        return {partition: packed[id(task)] for partition, task in self.tasks.items()}


@dataclass(frozen=True, slots=True, eq=False)
class RoundFacts:
    """What a round came to, besides the next state.

    Attributes:
        combined: the devices' models as one, before its masks were adjusted. It is what is
            evaluated: weights that grow start at 0 and need a round of training.
        loss: mean training loss, nats.
        exchanged: by layer that was adjusted, weights present now that were not before.
        left_out: devices whose replies were too implausible to count, with the reason.
    """

    combined: SparseModel
    loss: float
    exchanged: Mapping[str, int]
    left_out: Mapping[int, str]


def begin(
    federation: Federation,
    state: ServerState,
    round: int,
    asked: Collection[int] | None = None,
) -> RoundTask:
    """What to ask of whom in ``round`` (counted from 1), given the state after the one before.

    Args:
        federation: whose round it is.
        state: after the round before.
        round: counted from 1.
        asked: partitions; by default those that are drawn for the round.
    """
    quotas = federation.method.quotas(round, federation.graph, state.model)
    task = TrainTask(round, state.model, state.normalization, quotas, round == METERED_ROUND)
    if asked is None:
        asked = federation.participants(state.offences, round)
    return RoundTask(round, quotas, dict.fromkeys(sorted(asked), task))


def read_reply(
    federation: Federation, task: RoundTask, partition: int, packet: Packet
) -> TrainResult:
    """One device's reply, checked against what it was asked.

    Raises:
        FedTinyError: the reply does not hold what it should.
    """
    graph, masks = federation.graph, task.tasks[partition].model.masks
    if not task.quotas:
        return TrainResult.read(graph, partition, masks, packet)
    read = federation.method.device.read(graph, masks, task.quotas, packet)
    return TrainResult.read(graph, partition, read.masks, packet, read.found)


def finish(
    federation: Federation,
    state: ServerState,
    task: RoundTask,
    replies: Mapping[int, TrainResult],
) -> tuple[ServerState, RoundFacts]:
    """The state after the round, and what is to be told of it.

    Args:
        federation: whose round it is.
        state: that the round began with.
        task: of :func:`begin`.
        replies: by partition, at least one; those that failed are absent.

    Raises:
        AggregateError: the combined model is not finite, or beyond what a device would take.
    """
    method, graph, trust = federation.method, federation.graph, federation.trust
    left_out = implausible_updates(graph, state.model, replies, trust.update_factor)
    counted = capped_counts(
        {k: reply for k, reply in replies.items() if k not in left_out}, trust.samples_factor
    )
    results = [counted[partition] for partition in sorted(counted)]
    combined = method.combine(graph, results, trust.combiner)
    _check_sendable(task.round, combined)
    adjusted = method.adjust(RoundEnd(task.round, graph, combined, results, state.memory))
    facts = RoundFacts(
        combined,
        mean_loss(results),
        newcomers(state.model, adjusted.model, task.quotas),
        left_out,
    )
    settled = not method.adjusts or task.round > method.schedule.stop
    after = replace(
        state,
        round=task.round,
        model=adjusted.model,
        memory=adjusted.memory,
        progress=state.progress.after(facts.loss, federation.stopping) if settled else Progress(),
    )
    return after, facts


def _check_sendable(round: int, model: SparseModel) -> None:
    arrays = {name: weight.values for name, weight in model.weights.items()} | dict(model.dense)
    for name, array in arrays.items():
        try:
            check_magnitude(name, array)
        except WireError as error:
            raise AggregateError(
                f"round {round}: the combined model diverged ({error}); nothing of it was sent and "
                "the last checkpoint stays; lower training.learning_rate, or see [trust]"
            ) from error


def participants(seed: int, round: int, partitions: Sequence[int], count: int) -> list[int]:
    """The partitions that train in ``round``, ascending; ``count`` 0 takes all.

    >>> participants(0, 1, range(8), 0) == list(range(8))
    True
    >>> participants(0, 1, range(8), 3) == participants(0, 1, range(8), 3)
    True
    """
    return sample(seed, "participants", round, partitions, count)


def newcomers(before: SparseModel, after: SparseModel, names: Iterable[str]) -> dict[str, int]:
    """By layer, how many weights are present after an adjustment that were not before."""
    return {
        name: int(
            np.setdiff1d(
                after.weights[name].mask.indices,
                before.weights[name].mask.indices,
                assume_unique=True,
            ).size
        )
        for name in names
    }
