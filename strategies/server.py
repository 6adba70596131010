"""The round loop: it exists once, for every method and every backend."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

from fedtiny.config import RunConfig
from fedtiny.data.server import ServerData
from fedtiny.federation.described import counted
from fedtiny.federation.round import (
    Federation,
    RoundFacts,
    RoundTask,
    begin,
    finish,
    read_reply,
)
from fedtiny.federation.state import CheckpointStore, ServerState
from fedtiny.models.cost import adjustment_flops
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.events import (
    Adjusted,
    Metered,
    RoundFinished,
    RunFinished,
    Stopped,
    TierMissing,
)
from fedtiny.sparse.tensor import Floats
from fedtiny.wire.join import JoinTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult
from strategies.adapting import Adapting
from strategies.calibrating import Calibrating
from strategies.choosing import Choosing
from strategies.encoding import Encoding, check_encoding
from strategies.evaluation import GlobalEvaluation
from strategies.exchange import Exchange
from strategies.facts import density_fields
from strategies.introductions import Introductions
from strategies.observer import Observer, RunInfo
from strategies.preparation import Preparation
from strategies.trained import Trained

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True, eq=False)
class Round:
    """A round that is going on.

    Attributes:
        before: the state it began with.
        task: what it asks.
        started: by :func:`time.monotonic`.
    """

    before: ServerState
    task: RoundTask
    started: float


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

    def run(self, resume: bool) -> Trained:
        """All phases; with ``resume``, from the newest checkpoint on.

        Raises:
            FederationError: too many clients failed; the last checkpoint stays.
            CheckpointError: the checkpoint to resume from is damaged or of another config.
        """
        state = self.store.latest() if resume else None
        if state is not None:
            self.exchange.offences.update(state.offences)
            self.introductions.restore(state.described, state.tiers)
        with self.observed(1 if state is None else state.round + 1, state is not None):
            self.join()
            state = state or self.prepare()
            for round in range(state.round + 1, self.config.federation.rounds + 1):
                if self.federation.is_over(state):
                    break
                self.join(round)
                state = self.save(self.play(state, round))
            return self.leave(state)

    @contextmanager
    def observed(self, next_round: int = 1, resumed: bool = False) -> Iterator[None]:
        """Observers are told of the run's start and end, and of its success."""
        self.observer.on_start(RunInfo(self.config, self.graph, next_round, resumed))
        started = time.monotonic()
        try:
            yield
            last = self.config.federation.rounds + 1
            self.observer.on_event(RunFinished(last, time.monotonic() - started))
        finally:
            self.observer.on_end()

    def join(self, round: int = 0) -> None:
        """Wait for nodes and take in those that are new, see :meth:`Exchange.join`."""
        self.exchange.join(JoinTask(self.graph), round)

    def save(self, state: ServerState) -> ServerState:
        """``state`` with what is known of devices by now, once it is on disk."""
        state = replace(self.known(state), offences=dict(self.exchange.offences))
        self.store.save(state)
        return state

    def known(self, state: ServerState) -> ServerState:
        """``state`` with what devices have said of themselves by now."""
        described, tiers = self.introductions.described, self.introductions.tiers
        return replace(state, described=dict(described), tiers=dict(tiers))

    def prepare(self, initial: Mapping[str, Floats] | None = None) -> ServerState:
        """Descriptions, pre-training, and the method's own preparation; saved.

        Args:
            initial: see :meth:`Preparation.run`.
        """
        check_encoding(self.config, self.graph)
        run = self.config, self.graph, self.data, self.exchange, self.observer
        return self.save(Preparation(*run, self.introductions).run(initial))

    def play(self, state: ServerState, round: int) -> ServerState:
        """One round: local training, averaging, evaluation, and this round's adjustment."""
        current = self.begin(state, round)
        sent = current.task.packets()
        enough = self.config.federation.enough
        results = self.exchange.ask(Phase.TRAIN, round, sent, self.reader(current), enough)
        return self.conclude(current, results)

    def conclude(self, current: Round, results: Mapping[int, TrainResult]) -> ServerState:
        """What comes of a round whose replies are there: combined, evaluated, told."""
        after, facts = self.finish(current, results)
        round = current.task.round
        if self.evaluation.due(round) or self.federation.is_over(after):
            after, facts = self.choose(round, after, facts)
            self.evaluation.ask(round, facts.combined)
        self.tell(current, after, facts)
        return after

    def choose(
        self, round: int, after: ServerState, facts: RoundFacts
    ) -> tuple[ServerState, RoundFacts]:
        """Both with the global model that devices chose, before it is evaluated."""
        combined = self.choosing.run(round, facts.combined)
        return replace(after, shared=combined.shared), replace(facts, combined=combined)

    def begin(self, state: ServerState, round: int, asked: Collection[int] | None = None) -> Round:
        """What a round asks of devices, those introduced that are new; its clock starts.

        Args:
            state: after the round before.
            round: counted from 1.
            asked: partitions; by default those that are drawn for the round.
        """
        started = time.monotonic()
        if asked is None:
            asked = self.federation.participants(state, round)
        self.introductions.meet(sorted(asked), round)
        state = self.known(state)
        return Round(state, begin(self.federation, state, round, asked), started)

    def reader(self, current: Round) -> Callable[[int, Packet], TrainResult]:
        """Checks devices' replies in a round."""
        return counted(
            current.before.described,
            self.config.trust.samples_factor,
            Phase.TRAIN,
            lambda partition, packet: read_reply(self.federation, current.task, partition, packet),
        )

    def finish(
        self, current: Round, results: Mapping[int, TrainResult]
    ) -> tuple[ServerState, RoundFacts]:
        """What a round came to, with memory and doubts told; it is not over before :meth:`tell`."""
        round = current.task.round
        for partition, result in results.items():
            if result.ledger is not None:
                self.observer.on_event(Metered(round, partition, result.ledger))
        after, facts = finish(self.federation, current.before, current.task, results)
        self.exchange.doubt(Phase.TRAIN, round, facts.left_out)
        parts, counted = self.federation.parts(current.before), results.keys() - facts.left_out
        for tier, asked in parts.missing(current.task.tiers, counted).items():
            self.observer.on_event(TierMissing(round, tier, asked))
        return after, facts

    def tell(self, current: Round, after: ServerState, facts: RoundFacts) -> None:
        """The round is over, its evaluation too."""
        task, parts = current.task, self.federation.parts(after)
        trained = parts.block(parts.top, task.round).graph
        if task.quotas:
            self.observer.on_event(Adjusted(task.round, facts.exchanged))
        self.observer.on_event(
            RoundFinished(
                task.round,
                *density_fields(self.graph, after.model, trained),
                loss=facts.loss,
                seconds=time.monotonic() - current.started,
                adjustment_flops=self._adjustment_flops(trained, current.before.model, task.quotas),
            )
        )
        if self.federation.is_over(after) and task.round < self.config.federation.rounds:
            self.observer.on_event(Stopped(task.round, after.progress.rounds_since))

    def _adjustment_flops(
        self, trained: Graph, model: SparseModel, quotas: Mapping[str, int]
    ) -> int:
        """Of one device in one round, besides training: a batch for the gradients asked for."""
        if not quotas:
            return 0
        nnz = {name: weight.nnz for name, weight in model.weights.items()}
        per_sample = adjustment_flops(trained, nnz, list(quotas))
        return self.config.training.batch_size * per_sample

    def leave(self, state: ServerState) -> Trained:
        """What the federation leaves: its model, and what devices learn beside it after that."""
        run = self.config, self.federation, self.data, self.exchange, self.observer
        calibrated = Calibrating(*run).run(state)
        trained = Adapting(*run, self.introductions).run(state, calibrated)
        Encoding(*run, self.introductions).run(trained.model)
        return trained

    @cached_property
    def choosing(self) -> Choosing:
        """Of the part that is the global model."""
        return Choosing(self.config, self.federation, self.exchange, self.observer)

    @cached_property
    def evaluation(self) -> GlobalEvaluation:
        """Of the global model."""
        run = self.config, self.federation, self.data, self.exchange, self.observer
        return GlobalEvaluation(*run, self.introductions)

    @cached_property
    def introductions(self) -> Introductions:
        """Of the run's devices."""
        policy = self.config.tier_policy
        return Introductions(self.graph, policy, self.exchange, self.observer)

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
            self.config.stopping,
            self.config.tier_policy,
        )
