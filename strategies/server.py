"""The round loop: it exists once, for every method and every backend."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from fedtiny.aggregation.models import mean_loss, newcomers, participants
from fedtiny.config import RunConfig
from fedtiny.data.server import ServerData
from fedtiny.data.statistics import Normalization, merge
from fedtiny.models.cost import adjustment_flops, parameter_count, statistics_count, training_flops
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.quant.ranges import merge_ranges
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.training.choice import UNBOUND, engine_for
from fedtiny.training.local import trainer_inputs
from fedtiny.training.pretraining import pretrain
from fedtiny.training.trainer import Evaluation
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from fedtiny.wire.results import Description, EvaluationResult, RangesResult, TrainResult
from fedtiny.wire.tasks import ModelTask, TrainTask
from strategies.algorithm import Algorithm, RoundEnd, Start
from strategies.exchange import Exchange
from strategies.observer import Observer, RunInfo
from strategies.state import CheckpointStore, ServerState

METERED_ROUND = 1
"""The round in which devices also measure their memory."""


@dataclass(frozen=True)
class Server:
    """One run of one method.

    Attributes:
        config, graph: of the run.
        data: all samples that the server sees.
        algorithm: the method.
        exchange: to ask devices with.
        store: checkpoints.
        observer: sees every event.
    """

    config: RunConfig
    graph: Graph
    data: ServerData
    algorithm: Algorithm
    exchange: Exchange
    store: CheckpointStore
    observer: Observer

    def run(self, resume: bool) -> TrainedModel:
        """All phases; with ``resume``, from the newest checkpoint on.

        Raises:
            FederationError: too many clients failed; the last checkpoint stays.
            CheckpointError: the checkpoint to resume from is damaged or of another config.
        """
        state = self.store.latest() if resume else None
        next_round = 1 if state is None else state.round + 1
        self.observer.on_start(RunInfo(self.config, self.graph, next_round, state is not None))
        started = time.monotonic()
        try:
            trained = self._run(state)
            last = self.config.federation.rounds + 1
            self._event("end", last, seconds=time.monotonic() - started)
            return trained
        finally:
            self.observer.on_end()

    def _run(self, state: ServerState | None) -> TrainedModel:
        self.exchange.join(self.config.data.partitions)
        if state is None:
            self._event("start", 0, engine=engine_for(self.config).title, **_cost(self.graph))
            state = self._prepare()
            self.store.save(state)
        for round in range(state.round + 1, self.config.federation.rounds + 1):
            state = self._round(state, round)
            self.store.save(state)
        return self._calibrate(state)

    def _prepare(self) -> ServerState:
        """Descriptions, pre-training, and the method's own preparation."""
        normalization = self._describe()
        public = self.data.public
        self.observer.on_phase(Phase.PRETRAIN, 0)
        started = time.monotonic()
        state, report = pretrain(self.config, self.graph, public, normalization)
        self._event("pretrained", 0, seconds=time.monotonic() - started, **report)
        start = Start(
            self.config,
            self.graph,
            state,
            self.config.pretraining.epochs > 0,
            public,
            normalization,
            self._partitions(),
            self.exchange,
        )
        prepared = self.algorithm.prepare(start)
        self._event(
            "prepared", 0, story=dict(prepared.story), **_density(self.graph, prepared.model)
        )
        return ServerState(0, prepared.model, normalization, prepared.story)

    def _describe(self) -> Normalization:
        descriptions = self.exchange.ask(
            Phase.DESCRIBE,
            0,
            self._partitions(),
            _EMPTY,
            lambda partition, packet: Description.read(self.graph, partition, packet),
        )
        for partition, one in descriptions.items():
            ledger = one.ledger.to_json() if one.ledger else None
            self._event("device", 0, partition=partition, samples=one.samples, ledger=ledger)
        return merge([one.statistics for one in descriptions.values()]).normalization()

    def _round(self, state: ServerState, round: int) -> ServerState:
        """Local training, averaging, and this round's adjustment."""
        started = time.monotonic()
        quotas = self.algorithm.quotas(round, self.graph, state.model)
        rule = self.config.pruning.traits.rule
        task = TrainTask(round, state.model, state.normalization, quotas, round == METERED_ROUND)
        results = self.exchange.ask(
            Phase.TRAIN,
            round,
            self._participants(round),
            task.packet(self.graph),
            lambda partition, packet: TrainResult.read(
                self.graph, partition, state.model.masks, quotas, packet, rule
            ),
        )
        for partition, result in results.items():
            if result.ledger is not None:
                self._event("metered", round, partition=partition, ledger=result.ledger.to_json())
        replies = list(results.values())
        combined = self.algorithm.combine(self.graph, replies, self.config.pruning.bn_pooling)
        # Evaluated before the adjustment: grown weights are still 0 and need a round of training.
        self._evaluate(round, replace(state, model=combined))
        adjusted = self.algorithm.adjust(
            RoundEnd(round, self.graph, combined, replies, state.memory)
        )
        if quotas:
            exchanged = newcomers(state.model, adjusted.model, quotas)
            self._event("adjusted", round, exchanged=exchanged)
        self._event(
            "round",
            round,
            loss=mean_loss(replies),
            seconds=time.monotonic() - started,
            adjustment_flops=self._adjustment_flops(state.model, quotas),
            **_density(self.graph, adjusted.model),
        )
        return replace(state, round=round, model=adjusted.model, memory=adjusted.memory)

    def _adjustment_flops(self, model: SparseModel, quotas: Mapping[str, int]) -> int:
        """Of one device in one round, besides training: a batch for the gradients asked for."""
        if not quotas:
            return 0
        nnz = {name: weight.nnz for name, weight in model.weights.items()}
        per_sample = adjustment_flops(self.graph, nnz, list(quotas))
        return self.config.training.batch_size * per_sample

    def _evaluate(self, round: int, state: ServerState) -> None:
        every, last = self.config.federation.evaluate_every, self.config.federation.rounds
        if round % every and round != last:
            return
        task = ModelTask(state.model, state.normalization)
        results = self.exchange.ask(
            Phase.EVALUATE,
            round,
            self._partitions(),
            task.packet(self.graph),
            lambda _, packet: EvaluationResult.read(self.graph, packet),
        )
        for partition, result in results.items():
            self._evaluation("same_people", round, result.evaluation, partition)
        unseen = self.data.unseen
        engine = engine_for(self.config)
        trainer = engine.trainer(self.graph, state.model, None, UNBOUND)
        for owner in sorted(set(unseen.owner.tolist())):
            person = unseen.take((unseen.owner == owner).nonzero()[0])
            evaluation = trainer.evaluate(*trainer_inputs(person, state.normalization))
            self._evaluation("unseen_people", round, evaluation, owner)

    def _evaluation(self, group: str, round: int, evaluation: Evaluation, who: int) -> None:
        self._event(
            "evaluation",
            round,
            group=group,
            who=who,
            count=evaluation.count,
            correct=evaluation.correct,
            loss_sum=evaluation.loss_sum,
            confusion=evaluation.confusion.tolist(),
        )

    def _calibrate(self, state: ServerState) -> TrainedModel:
        """Activation ranges of the final model, merged from the devices."""
        task = ModelTask(state.model, state.normalization)
        results = self.exchange.ask(
            Phase.CALIBRATE,
            self.config.federation.rounds + 1,
            self._partitions(),
            task.packet(self.graph),
            lambda _, packet: RangesResult.read(self.graph, packet),
        )
        ranges = merge_ranges([result.ranges for result in results.values()])
        labels, sensor = self.data.labels, self.data.sensor
        return TrainedModel(self.graph, state.model, state.normalization, ranges, labels, sensor)

    def _partitions(self) -> list[int]:
        return list(range(self.config.data.partitions))

    def _participants(self, round: int) -> list[int]:
        count = self.config.federation.clients_per_round
        return participants(self.config.seed, round, self._partitions(), count)

    def _event(self, event: str, round: int, **fields: object) -> None:
        self.observer.on_event({"event": event, "round": round, **fields})


_EMPTY = Packet()


def _cost(graph: Graph) -> dict[str, object]:
    return {
        "model": graph.name,
        "parameters": parameter_count(graph),
        "statistics": statistics_count(graph),
        "training_flops_dense": training_flops(graph),
    }


def _density(graph: Graph, model: SparseModel) -> dict[str, object]:
    nnz = {name: weight.nnz for name, weight in model.weights.items()}
    return {
        "density": model.density,
        "density_all": model.density_all(graph),
        "training_flops": training_flops(graph, nnz),
        "densities": {name: weight.mask.density for name, weight in model.weights.items()},
    }
