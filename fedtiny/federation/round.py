"""One round, pure: ``begin`` says what to ask of whom, ``finish`` what the replies make of it.

Whoever carries messages stands between the two: our own loop, Flower's strategies, a simulator with
a clock of its own. The same state and the same replies always give the same bytes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from fedtiny.aggregation.bounds import capped_counts, implausible_updates
from fedtiny.aggregation.config import TrustConfig
from fedtiny.aggregation.mean import AggregateError
from fedtiny.aggregation.models import mean_loss
from fedtiny.aggregation.parts import PartResult, average_parts, part_statistics
from fedtiny.config.sections import StoppingConfig
from fedtiny.federation.dropout import part_of_round
from fedtiny.federation.parts import Parts, grouped
from fedtiny.federation.sampling import sample
from fedtiny.federation.state import ServerState
from fedtiny.federation.stopping import Progress
from fedtiny.methods.method import Method, RoundEnd
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.tiers.block import Block
from fedtiny.tiers.cut import ranks_of
from fedtiny.tiers.policy import Policy
from fedtiny.tiers.tier import WHOLE, Tier
from fedtiny.wire.packet import Packet, WireError, check_magnitude
from fedtiny.wire.part import about_part
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
        policy: who trains which part of the model; None: everybody all of it.
    """

    graph: Graph
    method: Method[Any]
    partitions: int
    clients_per_round: int
    seed: int
    trust: TrustConfig
    stopping: StoppingConfig
    policy: Policy | None = None

    def parts(self, state: ServerState) -> Parts:
        """Who trains which part of the model."""
        return Parts(self.graph, self.policy, state.tiers, state.shared)

    def model(self, state: ServerState, tier: Tier, round: int) -> SparseModel:
        """A tier's part of the state's model as it is in ``round``."""
        parts = self.parts(state)
        return parts.model(state.model, state.statistics, state.ranks, tier, round)

    def part(self, parts: Parts, partition: int, round: int) -> Tier:
        """What a device trains in ``round``."""
        own, last = parts.tier(partition), self.method.rounds
        if self.policy is None or not self.policy.drops or parts.are_all_whole:
            return own
        return part_of_round(
            parts.kinds, own, seed=self.seed, round=round, last=last, partition=partition
        )

    def is_over(self, state: ServerState) -> bool:
        """Whether the run ends with ``state``: nothing was gained for too long."""
        return state.progress.is_over(self.stopping)

    def asked(self, offences: Mapping[int, int]) -> list[int]:
        """The partitions that are asked at all, ascending: those not banned for their offences."""
        most = self.trust.max_offences or inf
        return [k for k in range(self.partitions) if offences.get(k, 0) < most]

    def participants(self, state: ServerState, round: int) -> list[int]:
        """The partitions that train in ``round``, ascending: of those that can, or may yet say."""
        unable = state.described.keys() - state.tiers.keys() if state.tiers else set()
        able = [k for k in self.asked(state.offences) if k not in unable]
        return sample(self.seed, "participants", round, able, self.clients_per_round)


@dataclass(frozen=True, slots=True, eq=False)
class RoundTask:
    """What a round asks.

    Attributes:
        round: counted from 1.
        quotas: how many weights may change, by layer; empty: none.
        tasks: by partition, ascending. Devices may get the same object or tasks of their own.
        blocks: by partition, the part of the model that its task is about.
        tiers: by partition, the same in width and density.
    """

    round: int
    quotas: Mapping[str, int]
    tasks: Mapping[int, TrainTask]
    blocks: Mapping[int, Block]
    tiers: Mapping[int, Tier]

    def packets(self) -> dict[int, Packet]:
        """The tasks as messages; one that several devices get is packed once."""
        packed: dict[int, Packet] = {}
        for partition, task in self.tasks.items():
            if id(task) not in packed:
                block = self.blocks[partition]
                packed[id(task)] = about_part(task.packet(block.graph), block.width)
        return {partition: packed[id(task)] for partition, task in self.tasks.items()}


@dataclass(frozen=True, slots=True, eq=False)
class RoundFacts:
    """What a round came to, besides the next state.

    Attributes:
        combined: the state with the devices' models as one, before its masks were adjusted. It is
            what is evaluated: weights that grow start at 0 and need a round of training.
        loss: mean training loss, nats.
        exchanged: by layer that was adjusted, weights present now that were not before.
        left_out: devices whose replies were too implausible to count, with the reason.
    """

    combined: ServerState
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
    parts = federation.parts(state)
    if asked is None:
        asked = federation.participants(state, round)
    tasks: dict[int, TrainTask] = {}
    blocks: dict[int, Block] = {}
    tiers = {k: federation.part(parts, k, round) for k in sorted(asked) if parts.trains(k)}
    for tier, partitions in grouped(tiers.items()).items():
        block, model = parts.block(tier, round), federation.model(state, tier, round)
        quotas = federation.method.quotas(round, block.graph, model)
        task = TrainTask(round, model, state.normalization, quotas, round == METERED_ROUND)
        tasks |= dict.fromkeys(partitions, task)
        blocks |= dict.fromkeys(partitions, block)
    quotas = federation.method.quotas(round, federation.graph, state.model)
    return RoundTask(round, quotas, dict(sorted(tasks.items())), blocks, tiers)


def read_reply(
    federation: Federation, task: RoundTask, partition: int, packet: Packet
) -> TrainResult:
    """One device's reply, checked against what it was asked.

    Raises:
        FedTinyError: the reply does not hold what it should.
    """
    graph, asked = task.blocks[partition].graph, task.tasks[partition]
    masks = asked.model.masks
    if not asked.quotas:
        return TrainResult.read(graph, partition, masks, packet)
    read = federation.method.device.read(graph, masks, asked.quotas, packet)
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
    method, trust, parts = federation.method, federation.trust, federation.parts(state)
    left_out = _implausible(federation, task, replies)
    counted = capped_counts(
        {k: reply for k, reply in replies.items() if k not in left_out}, trust.samples_factor
    )
    order = sorted(counted)
    results, blocks = [counted[k] for k in order], [task.blocks[k] for k in order]
    combined = _combined(federation, state, task, dict(zip(order, results, strict=True)))
    _check_sendable(task.round, combined.model)
    end = RoundEnd(
        task.round, federation.graph, combined.model, results, blocks, parts.rings, state.memory
    )
    adjusted = method.adjust(end)
    facts = RoundFacts(
        combined,
        mean_loss(results),
        newcomers(state.model, adjusted.model, task.quotas),
        left_out,
    )
    settled = not method.adjusts or task.round > method.schedule.stop
    after = replace(
        combined,
        round=task.round,
        model=adjusted.model,
        memory=adjusted.memory,
        progress=state.progress.after(facts.loss, federation.stopping) if settled else Progress(),
        ranks=ranks_of(adjusted.model) if task.quotas and state.ranks else state.ranks,
    )
    return after, facts


def _implausible(
    federation: Federation, task: RoundTask, replies: Mapping[int, TrainResult]
) -> dict[int, str]:
    """Devices are measured against those that were asked the same."""
    reasons: dict[int, str] = {}
    asked = {id(one): one for one in task.tasks.values()}
    for one in asked.values():
        alike = {k: reply for k, reply in replies.items() if task.tasks[k] is one}
        graph = task.blocks[next(iter(alike))].graph if alike else federation.graph
        reasons |= implausible_updates(graph, one.model, alike, federation.trust.update_factor)
    return dict(sorted(reasons.items()))


def _combined(
    federation: Federation,
    state: ServerState,
    task: RoundTask,
    results: Mapping[int, TrainResult],
) -> ServerState:
    """The state with one model of the devices' (by partition, ascending)."""
    method, graph, combiner = federation.method, federation.graph, federation.trust.combiner
    blocks = [task.blocks[k] for k in results]
    if all(block.is_whole for block in blocks) and federation.parts(state).are_all_whole:
        model = method.combine(graph, list(results.values()), combiner)
        return replace(state, model=model)
    held = [
        PartResult(block, result) for block, result in zip(blocks, results.values(), strict=True)
    ]
    model = average_parts(graph, state.model, held, combiner)
    statistics = dict(state.statistics)
    for tier, partitions in grouped((k, task.tiers[k]) for k in results).items():
        some = [PartResult(task.blocks[k], results[k]) for k in partitions]
        before = statistics.get(tier, state.model.dense)
        pooled = part_statistics(graph, before, some, method.settings.bn_pooling, combiner)
        statistics[tier] = pooled
    if WHOLE in statistics:
        model = SparseModel(model.weights, {**model.dense, **statistics.pop(WHOLE)})
    return replace(state, model=model, statistics=statistics)


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
