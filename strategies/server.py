"""The round loop: it exists once, for every method and every backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TypeVar, cast

from fedtiny.aggregation.bounds import implausible_ranges
from fedtiny.aggregation.ranges import merge_ranges
from fedtiny.config import RunConfig
from fedtiny.data.samples import Samples
from fedtiny.data.server import ServerData
from fedtiny.data.statistics import Normalization, merge
from fedtiny.devices.budget import engine_of
from fedtiny.federation.described import (
    Described,
    Sizes,
    counted,
    most_samples,
    odd_statistics,
)
from fedtiny.federation.round import Federation, begin, finish, read_reply
from fedtiny.federation.state import CheckpointStore, ServerState
from fedtiny.methods.method import Start
from fedtiny.models.cost import adjustment_flops
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
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
    Story,
)
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.training.choice import dense_engine
from fedtiny.training.pretraining import pretrain
from fedtiny.training.trainer import Evaluation, Trainer
from fedtiny.wire.calibrate import RangesResult
from fedtiny.wire.describe import Description
from fedtiny.wire.evaluate import EvaluationResult
from fedtiny.wire.join import JoinTask
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from strategies.exchange import Exchange
from strategies.facts import density_fields, started_event
from strategies.observer import Observer, RunInfo

Result = TypeVar("Result")


@dataclass(frozen=True)
class Server:
    """One run of one method.

    Attributes:
        config, graph: of the run.
        data: all samples that the server sees.
        exchange: to ask devices with.
        store: checkpoints.
        observer: sees every event.
    """

    config: RunConfig
    graph: Graph
    data: ServerData
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
        self.exchange.offences.update({} if state is None else state.offences)
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
        self.exchange.join(JoinTask(self.graph))
        if state is None:
            self.observer.on_event(started_event(self.config, self.graph))
            state = self._save(self._prepare())
        for round in range(state.round + 1, self.config.federation.rounds + 1):
            self.exchange.join(JoinTask(self.graph), round)
            state = self._save(self._round(state, round))
        return self._calibrate(state)

    def _save(self, state: ServerState) -> ServerState:
        state = replace(state, offences=dict(self.exchange.offences))
        self.store.save(state)
        return state

    def _prepare(self) -> ServerState:
        """Descriptions, pre-training, and the method's own preparation."""
        described, normalization = self._describe()
        public = self.data.public
        self.observer.on_phase(Phase.PRETRAIN, 0)
        started = time.monotonic()
        state, report = pretrain(
            self.config.pretraining,
            self.graph,
            Samples(public, normalization),
            momentum=self.config.training.momentum,
            weight_decay=self.config.training.weight_decay,
            seed=self.config.seed,
        )
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
            graph=self.graph,
            state=state,
            pretrained=self.config.pretraining.epochs > 0,
            public=public,
            normalization=normalization,
            ask=partial(self._ask_all, described),
            dense_trainer=self._dense_trainer,
        )
        prepared = self.federation.method.prepare(start)
        story = cast(Story, prepared.story)
        self.observer.on_event(ModelPrepared(0, *density_fields(self.graph, prepared.model), story))
        return ServerState(0, prepared.model, normalization, prepared.story, described=described)

    def _describe(self) -> tuple[Described, Normalization]:
        """How many samples each device has, and the normalization of their inputs."""
        descriptions = self.exchange.ask(
            Phase.DESCRIBE,
            0,
            self._to_all(Packet()),
            lambda partition, packet: Description.read(self.graph, partition, packet),
        )
        for partition, one in descriptions.items():
            event = DeviceDescribed(0, partition, one.samples, one.ledger, one.measured)
            self.observer.on_event(event)
        odd = odd_statistics(descriptions, self.config.trust.samples_factor)
        self.exchange.doubt(Phase.DESCRIBE, 0, odd)
        described = {
            k: Sizes(one.samples, one.development, one.test) for k, one in descriptions.items()
        }
        believed = [one.statistics for k, one in descriptions.items() if k not in odd]
        return described, merge(believed).normalization()

    def _round(self, state: ServerState, round: int) -> ServerState:
        """Local training, averaging, and this round's adjustment."""
        started = time.monotonic()
        task = begin(self.federation, state, round)
        results = self.exchange.ask(
            Phase.TRAIN,
            round,
            task.packets(self.graph),
            counted(
                state.described,
                self.config.trust.samples_factor,
                Phase.TRAIN,
                lambda partition, packet: read_reply(self.federation, task, partition, packet),
            ),
            self.config.federation.enough,
        )
        for partition, result in results.items():
            if result.ledger is not None:
                self.observer.on_event(Metered(round, partition, result.ledger))
        after, facts = finish(self.federation, state, task, results)
        self.exchange.doubt(Phase.TRAIN, round, facts.left_out)
        self._evaluate(round, facts.combined, state)
        if task.quotas:
            self.observer.on_event(Adjusted(round, facts.exchanged))
        self.observer.on_event(
            RoundFinished(
                round,
                *density_fields(self.graph, after.model),
                loss=facts.loss,
                seconds=time.monotonic() - started,
                adjustment_flops=self._adjustment_flops(state.model, task.quotas),
            )
        )
        return after

    def _adjustment_flops(self, model: SparseModel, quotas: Mapping[str, int]) -> int:
        """Of one device in one round, besides training: a batch for the gradients asked for."""
        if not quotas:
            return 0
        nnz = {name: weight.nnz for name, weight in model.weights.items()}
        per_sample = adjustment_flops(self.graph, nnz, list(quotas))
        return self.config.training.batch_size * per_sample

    def _evaluate(self, round: int, model: SparseModel, state: ServerState) -> None:
        every, last = self.config.federation.evaluate_every, self.config.federation.rounds
        if round % every and round != last:
            return
        task = ModelTask(model, state.normalization)
        results = self.exchange.ask(
            Phase.EVALUATE,
            round,
            self._to_all(task.packet(self.graph)),
            lambda partition, packet: EvaluationResult.read(
                self.graph, self._most(state, Phase.EVALUATE, partition), packet
            ),
        )
        for partition, result in results.items():
            self._evaluation("same_people", round, result.evaluation, partition)
        unseen = self.data.unseen
        trainer = engine_of(self.config).evaluator(self.graph, model)
        for owner in sorted(set(unseen.owner.tolist())):
            person = unseen.take((unseen.owner == owner).nonzero()[0])
            evaluation = trainer.evaluate(Samples(person, state.normalization))
            self._evaluation("unseen_people", round, evaluation, owner)

    def _most(self, state: ServerState, phase: Phase, partition: int) -> int:
        factor = self.config.trust.samples_factor
        return most_samples(state.described, factor, phase, partition)

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
            self._to_all(task.packet(self.graph)),
            lambda _, packet: RangesResult.read(self.graph, packet),
        )
        reported = {k: result.ranges for k, result in results.items()}
        odd = implausible_ranges(reported, self.config.trust.update_factor)
        self.exchange.doubt(Phase.CALIBRATE, self.config.federation.rounds + 1, odd)
        ranges = merge_ranges(one for k, one in reported.items() if k not in odd)
        labels, sensor = self.data.labels, self.data.sensor
        return TrainedModel(self.graph, state.model, state.normalization, ranges, labels, sensor)

    @cached_property
    def federation(self) -> Federation:
        """What no round changes."""
        return Federation(
            self.graph,
            self.config.method,
            self.config.data.partitions,
            self.config.federation.drawn,
            self.config.seed,
            self.config.trust,
        )

    def _to_all(self, packet: Packet) -> dict[int, Packet]:
        return dict.fromkeys(range(self.config.data.partitions), packet)

    def _ask_all(
        self,
        described: Described,
        phase: Phase,
        packet: Packet,
        read: Callable[[int, Packet], Result],
    ) -> Sequence[Result]:
        believed = counted(described, self.config.trust.samples_factor, phase, read)
        return list(self.exchange.ask(phase, 0, self._to_all(packet), believed).values())

    def _dense_trainer(self, model: SparseModel) -> Trainer:
        return dense_engine().evaluator(self.graph, model)
