"""The round loop: it exists once, for every method and every backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeVar

from fedtiny.aggregation.ranges import merge_ranges
from fedtiny.config import RunConfig
from fedtiny.data.server import ServerData
from fedtiny.data.statistics import Normalization, merge
from fedtiny.federation.round import Federation, begin, finish, read_reply
from fedtiny.federation.state import CheckpointStore, ServerState
from fedtiny.methods.method import Start
from fedtiny.models.cost import adjustment_flops, parameter_count, statistics_count, training_flops
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.training.choice import UNBOUND, dense_engine, engine_for
from fedtiny.training.local import trainer_inputs
from fedtiny.training.pretraining import pretrain
from fedtiny.training.trainer import Evaluation, Trainer
from fedtiny.wire.calibrate import RangesResult
from fedtiny.wire.describe import Description
from fedtiny.wire.evaluate import EvaluationResult
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from strategies.exchange import Exchange
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
            graph=self.graph,
            state=state,
            pretrained=self.config.pretraining.epochs > 0,
            public=public,
            normalization=normalization,
            ask=self._ask_all,
            dense_trainer=self._dense_trainer,
        )
        prepared = self.federation.method.prepare(start)
        self._event(
            "prepared", 0, story=dict(prepared.story), **_density(self.graph, prepared.model)
        )
        return ServerState(0, prepared.model, normalization, prepared.story)

    def _describe(self) -> Normalization:
        descriptions = self.exchange.ask(
            Phase.DESCRIBE,
            0,
            self._to_all(Packet()),
            lambda partition, packet: Description.read(self.graph, partition, packet),
        )
        for partition, one in descriptions.items():
            ledger = one.ledger.to_json() if one.ledger else None
            self._event("device", 0, partition=partition, samples=one.samples, ledger=ledger)
        return merge([one.statistics for one in descriptions.values()]).normalization()

    def _round(self, state: ServerState, round: int) -> ServerState:
        """Local training, averaging, and this round's adjustment."""
        started = time.monotonic()
        task = begin(self.federation, state, round)
        results = self.exchange.ask(
            Phase.TRAIN,
            round,
            task.packets(self.graph),
            lambda partition, packet: read_reply(self.federation, task, partition, packet),
        )
        for partition, result in results.items():
            if result.ledger is not None:
                self._event("metered", round, partition=partition, ledger=result.ledger.to_json())
        after, facts = finish(self.federation, state, task, results)
        self._evaluate(round, facts.combined, state.normalization)
        if task.quotas:
            self._event("adjusted", round, exchanged=facts.exchanged)
        self._event(
            "round",
            round,
            loss=facts.loss,
            seconds=time.monotonic() - started,
            adjustment_flops=self._adjustment_flops(state.model, task.quotas),
            **_density(self.graph, after.model),
        )
        return after

    def _adjustment_flops(self, model: SparseModel, quotas: Mapping[str, int]) -> int:
        """Of one device in one round, besides training: a batch for the gradients asked for."""
        if not quotas:
            return 0
        nnz = {name: weight.nnz for name, weight in model.weights.items()}
        per_sample = adjustment_flops(self.graph, nnz, list(quotas))
        return self.config.training.batch_size * per_sample

    def _evaluate(self, round: int, model: SparseModel, normalization: Normalization) -> None:
        every, last = self.config.federation.evaluate_every, self.config.federation.rounds
        if round % every and round != last:
            return
        task = ModelTask(model, normalization)
        results = self.exchange.ask(
            Phase.EVALUATE,
            round,
            self._to_all(task.packet(self.graph)),
            lambda _, packet: EvaluationResult.read(self.graph, packet),
        )
        for partition, result in results.items():
            self._evaluation("same_people", round, result.evaluation, partition)
        unseen = self.data.unseen
        engine = engine_for(self.config)
        trainer = engine.trainer(self.graph, model, None, UNBOUND)
        for owner in sorted(set(unseen.owner.tolist())):
            person = unseen.take((unseen.owner == owner).nonzero()[0])
            evaluation = trainer.evaluate(*trainer_inputs(person, normalization))
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
            self._to_all(task.packet(self.graph)),
            lambda _, packet: RangesResult.read(self.graph, packet),
        )
        ranges = merge_ranges([result.ranges for result in results.values()])
        labels, sensor = self.data.labels, self.data.sensor
        return TrainedModel(self.graph, state.model, state.normalization, ranges, labels, sensor)

    @cached_property
    def federation(self) -> Federation:
        """What no round changes."""
        return Federation(
            self.graph,
            self.config.method,
            self.config.data.partitions,
            self.config.federation.clients_per_round,
            self.config.seed,
        )

    def _to_all(self, packet: Packet) -> dict[int, Packet]:
        return dict.fromkeys(range(self.config.data.partitions), packet)

    def _ask_all(
        self, phase: Phase, packet: Packet, read: Callable[[int, Packet], Result]
    ) -> Sequence[Result]:
        return list(self.exchange.ask(phase, 0, self._to_all(packet), read).values())

    def _dense_trainer(self, model: SparseModel) -> Trainer:
        return dense_engine().trainer(self.graph, model, None, UNBOUND)

    def _event(self, event: str, round: int, **fields: object) -> None:
        self.observer.on_event({"event": event, "round": round, **fields})


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
