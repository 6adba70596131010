"""The global model meets the participants' test samples, and people who took no part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from fedtiny.config import RunConfig
from fedtiny.data.dataset import Dataset
from fedtiny.data.samples import Samples
from fedtiny.data.server import ServerData
from fedtiny.devices.budget import engine_of
from fedtiny.federation.described import most_samples
from fedtiny.federation.parts import Parts, grouped
from fedtiny.federation.state import ServerState
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.event_parts import Group
from fedtiny.runs.events import Evaluated, TierEvaluated
from fedtiny.tiers.tier import Tier
from fedtiny.training.trainer import Evaluation
from fedtiny.wire.evaluate import EvaluationResult
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.part import about_part
from fedtiny.wire.phase import Phase
from strategies.exchange import Exchange
from strategies.introductions import Introductions
from strategies.observer import Observer


@dataclass(frozen=True)
class GlobalEvaluation:
    """Evaluations of one run, told to its observer person by person.

    Attributes:
        config, graph: of the run.
        data: has the people who take no part.
        exchange: to ask devices with.
        observer: is told.
        introductions: of devices that were asked nothing so far.
    """

    config: RunConfig
    graph: Graph
    data: ServerData
    exchange: Exchange
    observer: Observer
    introductions: Introductions

    def due(self, round: int) -> bool:
        """Whether the model is evaluated after ``round``: every so many, and the last."""
        federation = self.config.federation
        return round % federation.evaluate_every == 0 or round == federation.rounds

    def ask(self, round: int, state: ServerState) -> None:
        """Ask all devices, or ``federation.evaluate_clients`` of them, and tell.

        Args:
            round: after which.
            state: with the model to evaluate, and the parts of it that devices hold.
        """
        results = self.exchange.ask(
            Phase.EVALUATE,
            round,
            self.packets(round, state),
            self.read,
        )
        self.tell(round, state, results)

    def packets(self, round: int, state: ServerState) -> dict[int, Packet]:
        """What devices are sent after ``round``, by partition: each its own part of the model."""
        asked = self.exchange.asked(Phase.EVALUATE, round)
        self.introductions.meet(asked, round)
        state = replace(state, tiers=self._parts(state).joined_by(self.introductions.tiers))
        parts = self._parts(state)
        packets: dict[int, Packet] = {}
        for tier, partitions in grouped((k, parts.given(k)) for k in asked).items():
            block, model = parts.block(tier, round), self._model(state, tier, round)
            packet = ModelTask(model, state.normalization).packet(block.graph)
            packets |= dict.fromkeys(partitions, about_part(packet, block.width))
        return dict(sorted(packets.items()))

    def read(self, partition: int, packet: Packet) -> EvaluationResult:
        """One device's reply, checked; raises FedTinyError if it is none."""
        factor = self.config.trust.samples_factor
        most = most_samples(self.introductions.described, factor, Phase.EVALUATE, partition)
        return EvaluationResult.read(self.graph, most, packet)

    def tell(self, round: int, state: ServerState, results: Mapping[int, EvaluationResult]) -> None:
        """The devices' results, then those of the unseen people, who are evaluated here."""
        for partition, result in results.items():
            self._told("same_people", round, result.evaluation, partition)
        unseen = self.data.unseen
        top = self._parts(state).top
        evaluate = self._evaluator(state, top, round)
        for owner in sorted(set(unseen.owner.tolist())):
            person = unseen.take((unseen.owner == owner).nonzero()[0])
            self._told("unseen_people", round, evaluate(person), owner)
        if self.config.tiers.is_on and len(unseen):
            self._tell_tiers(round, state)

    def _tell_tiers(self, round: int, state: ServerState) -> None:
        """Every part that somebody trains, and one that nobody does: half the weights of all."""
        parts = self._parts(state)
        holders = Counter(state.tiers.values())
        untrained = replace(parts.top, density=self._model(state, parts.top, round).density / 2)
        for tier in [*parts.kinds, untrained]:
            model = self._model(state, tier, round)
            found = self._evaluator(state, tier, round)(self.data.unseen)
            self.observer.on_event(
                TierEvaluated(round, tier, holders[tier], model.nnz, found.count, found.correct)
            )

    def _evaluator(
        self, state: ServerState, tier: Tier, round: int
    ) -> Callable[[Dataset], Evaluation]:
        graph = self._parts(state).block(tier, round).graph
        trainer = engine_of(self.config).evaluator(graph, self._model(state, tier, round))
        return lambda data: trainer.evaluate(Samples(data, state.normalization))

    def _model(self, state: ServerState, tier: Tier, round: int) -> SparseModel:
        parts = self._parts(state)
        return parts.model(state.model, state.statistics, state.ranks, tier, round)

    def _parts(self, state: ServerState) -> Parts:
        return Parts(self.graph, self.config.tier_policy, state.tiers)

    def _told(self, group: Group, round: int, evaluation: Evaluation, who: int) -> None:
        self.observer.on_event(
            Evaluated(
                round,
                group,
                who,
                evaluation.count,
                evaluation.correct,
                evaluation.loss_sum,
                tuple(map(tuple, evaluation.confusion.tolist())),
            )
        )
