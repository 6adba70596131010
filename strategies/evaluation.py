"""The global model meets the participants' test samples, and people who took no part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedtiny.config import RunConfig
from fedtiny.data.samples import Samples
from fedtiny.data.server import ServerData
from fedtiny.devices.budget import engine_of
from fedtiny.federation.described import most_samples
from fedtiny.federation.state import ServerState
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.event_parts import Group
from fedtiny.runs.events import Evaluated
from fedtiny.training.trainer import Evaluation
from fedtiny.wire.evaluate import EvaluationResult
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet
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

    def ask(self, round: int, model: SparseModel, state: ServerState) -> None:
        """Ask all devices, or ``federation.evaluate_clients`` of them, and tell.

        Args:
            round: after which.
            model: to evaluate.
            state: at the round's begin, for its normalization.
        """
        results = self.exchange.ask(
            Phase.EVALUATE,
            round,
            self.packets(round, model, state),
            self.read,
        )
        self.tell(round, model, state, results)

    def packets(self, round: int, model: SparseModel, state: ServerState) -> dict[int, Packet]:
        """What devices are sent after ``round``, by partition."""
        asked = self.exchange.asked(Phase.EVALUATE, round)
        self.introductions.meet(asked, round)
        return dict.fromkeys(asked, ModelTask(model, state.normalization).packet(self.graph))

    def read(self, partition: int, packet: Packet) -> EvaluationResult:
        """One device's reply, checked; raises FedTinyError if it is none."""
        factor = self.config.trust.samples_factor
        most = most_samples(self.introductions.described, factor, Phase.EVALUATE, partition)
        return EvaluationResult.read(self.graph, most, packet)

    def tell(
        self,
        round: int,
        model: SparseModel,
        state: ServerState,
        results: Mapping[int, EvaluationResult],
    ) -> None:
        """The devices' results, then those of the unseen people, who are evaluated here."""
        for partition, result in results.items():
            self._told("same_people", round, result.evaluation, partition)
        unseen = self.data.unseen
        trainer = engine_of(self.config).evaluator(self.graph, model)
        for owner in sorted(set(unseen.owner.tolist())):
            person = unseen.take((unseen.owner == owner).nonzero()[0])
            evaluation = trainer.evaluate(Samples(person, state.normalization))
            self._told("unseen_people", round, evaluation, owner)

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
