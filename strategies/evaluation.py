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
from fedtiny.federation.round import Federation
from fedtiny.federation.state import ServerState
from fedtiny.runs.event_parts import Group
from fedtiny.runs.events import Evaluated, TierEvaluated
from fedtiny.tiers.tier import Tier
from fedtiny.training.trainer import Evaluation
from fedtiny.wire.evaluate import EvaluationResult
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from strategies.exchange import Exchange
from strategies.introductions import Introductions
from strategies.model_tasks import model_packets
from strategies.observer import Observer

_THINNER = tuple(2**-k for k in range(1, 64))
"""Shares of the global model's weights, of which the first is taken that nobody trains."""


@dataclass(frozen=True)
class GlobalEvaluation:
    """Evaluations of one run, told to its observer person by person.

    Attributes:
        config, federation: of the run.
        data: has the people who take no part.
        exchange: to ask devices with.
        observer: is told.
        introductions: of devices that were asked nothing so far.
    """

    config: RunConfig
    federation: Federation
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
        packets = self.packets(round, state)
        results = self.exchange.ask(Phase.EVALUATE, round, packets, self.read)
        self.tell(round, state, results)

    def packets(self, round: int, state: ServerState) -> dict[int, Packet]:
        """What devices are sent after ``round``, by partition: each its own part of the model."""
        asked = self.exchange.asked(Phase.EVALUATE, round)
        self.introductions.meet(asked, round)
        state = replace(state, tiers=dict(self.introductions.tiers))
        return model_packets(self.federation, state, asked, round)

    def read(self, partition: int, packet: Packet) -> EvaluationResult:
        """One device's reply, checked; raises FedTinyError if it is none."""
        factor = self.config.trust.samples_factor
        most = most_samples(self.introductions.described, factor, Phase.EVALUATE, partition)
        return EvaluationResult.read(self.federation.graph, most, packet)

    def tell(self, round: int, state: ServerState, results: Mapping[int, EvaluationResult]) -> None:
        """The devices' results, then those of the unseen people, who are evaluated here."""
        for partition, result in results.items():
            self._told("same_people", round, result.evaluation, partition)
        unseen = self.data.unseen
        evaluate = self._evaluator(state, self.federation.parts(state).shared, round)
        for owner in sorted(set(unseen.owner.tolist())):
            person = unseen.take((unseen.owner == owner).nonzero()[0])
            self._told("unseen_people", round, evaluate(person), owner)
        if self.config.has_parts and len(unseen):
            self._tell_tiers(round, state)

    def _tell_tiers(self, round: int, state: ServerState) -> None:
        """Every part that somebody trains, and one that nobody does: the global model, thinner."""
        parts, holders = self.federation.parts(state), Counter(state.tiers.values())
        whole = self.federation.model(state, parts.shared, round)
        thinner = (replace(parts.shared, density=whole.density * share) for share in _THINNER)
        untrained = next(tier for tier in thinner if tier not in parts.kinds)
        for tier in [*parts.kinds, untrained]:
            nnz = self.federation.model(state, tier, round).nnz
            found = self._evaluator(state, tier, round)(self.data.unseen)
            self.observer.on_event(
                TierEvaluated(round, tier, holders[tier], nnz, found.count, found.correct)
            )

    def _evaluator(
        self, state: ServerState, tier: Tier, round: int
    ) -> Callable[[Dataset], Evaluation]:
        graph = self.federation.parts(state).block(tier, round).graph
        model = self.federation.model(state, tier, round)
        trainer = engine_of(self.config).evaluator(graph, model)
        return lambda data: trainer.evaluate(Samples(data, state.normalization))

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
