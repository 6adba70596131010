"""The round loop: it exists once, for every method and every backend."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import cast

from fedtiny.aggregation.models import mean_loss, newcomers, participants
from fedtiny.config import RunConfig
from fedtiny.data.federation import load_federation
from fedtiny.data.statistics import Normalization, merge
from fedtiny.models.cost import adjustment_flops, parameter_count, statistics_count, training_flops
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.quant.ranges import merge_ranges
from fedtiny.runs.events import (
    Adjusted,
    DeviceDescribed,
    Evaluated,
    Group,
    Metered,
    ModelPrepared,
    Pretrained,
    RoundFinished,
    RunFinished,
    RunStarted,
    Story,
)
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
        algorithm: the method.
        exchange: to ask devices with.
        store: checkpoints.
        observer: sees every event.
    """

    config: RunConfig
    graph: Graph
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
            self.observer.on_event(RunFinished(last, time.monotonic() - started))
            return trained
        finally:
            self.observer.on_end()

    def _run(self, state: ServerState | None) -> TrainedModel:
        self.exchange.join(self.config.data.partitions)
        if state is None:
            self.observer.on_event(_started(self.config, self.graph))
            state = self._prepare()
            self.store.save(state)
        for round in range(state.round + 1, self.config.federation.rounds + 1):
            state = self._round(state, round)
            self.store.save(state)
        return self._calibrate(state)

    def _prepare(self) -> ServerState:
        """Descriptions, pre-training, and the method's own preparation."""
        normalization = self._describe()
        public = load_federation(self.config.data, self.config.seed).public
        self.observer.on_phase(Phase.PRETRAIN, 0)
        started = time.monotonic()
        state, report = pretrain(self.config, self.graph, public, normalization)
        self.observer.on_event(
            Pretrained(
                0,
                time.monotonic() - started,
                int(report["samples"]),
                int(report["epochs"]),
                report["accuracy"],
            )
        )
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
        story = cast(Story, prepared.story)
        self.observer.on_event(ModelPrepared(0, *_density(self.graph, prepared.model), story))
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
            self.observer.on_event(DeviceDescribed(0, partition, one.samples, one.ledger))
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
                self.observer.on_event(Metered(round, partition, result.ledger))
        replies = list(results.values())
        combined = self.algorithm.combine(self.graph, replies, self.config.pruning.bn_pooling)
        # Evaluated before the adjustment: grown weights are still 0 and need a round of training.
        self._evaluate(round, replace(state, model=combined))
        adjusted = self.algorithm.adjust(
            RoundEnd(round, self.graph, combined, replies, state.memory)
        )
        if quotas:
            exchanged = newcomers(state.model, adjusted.model, quotas)
            self.observer.on_event(Adjusted(round, exchanged))
        self.observer.on_event(
            RoundFinished(
                round,
                *_density(self.graph, adjusted.model),
                loss=mean_loss(replies),
                seconds=time.monotonic() - started,
                adjustment_flops=self._adjustment_flops(state.model, quotas),
            )
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
        unseen = load_federation(self.config.data, self.config.seed).unseen
        engine = engine_for(self.config)
        trainer = engine.trainer(self.graph, state.model, None, UNBOUND)
        for owner in sorted(set(unseen.owner.tolist())):
            person = unseen.take((unseen.owner == owner).nonzero()[0])
            evaluation = trainer.evaluate(*trainer_inputs(person, state.normalization))
            self._evaluation("unseen_people", round, evaluation, owner)

    def _evaluation(self, group: Group, round: int, evaluation: Evaluation, who: int) -> None:
        confusion = tuple(map(tuple, evaluation.confusion.tolist()))
        self.observer.on_event(
            Evaluated(
                round,
                group,
                who,
                evaluation.count,
                evaluation.correct,
                evaluation.loss_sum,
                confusion,
            )
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
        public = load_federation(self.config.data, self.config.seed).public
        ranges = merge_ranges([result.ranges for result in results.values()])
        return TrainedModel(
            self.graph, state.model, state.normalization, ranges, public.labels, public.sensor
        )

    def _partitions(self) -> list[int]:
        return list(range(self.config.data.partitions))

    def _participants(self, round: int) -> list[int]:
        count = self.config.federation.clients_per_round
        return participants(self.config.seed, round, self._partitions(), count)


_EMPTY = Packet()


def _started(config: RunConfig, graph: Graph) -> RunStarted:
    return RunStarted(
        0,
        engine=engine_for(config).title,
        model=graph.name,
        parameters=parameter_count(graph),
        statistics=statistics_count(graph),
        training_flops_dense=training_flops(graph),
    )


def _density(graph: Graph, model: SparseModel) -> tuple[float, float, int, dict[str, float]]:
    """What :class:`fedtiny.runs.events.ModelState` says of a model, in its order."""
    nnz = {name: weight.nnz for name, weight in model.weights.items()}
    return (
        model.density,
        model.density_all(graph),
        training_flops(graph, nnz),
        {name: weight.mask.density for name, weight in model.weights.items()},
    )
