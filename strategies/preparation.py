"""Before round 1: what devices say of themselves, pre-training, and the first masks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, cast

from fedtiny.config import RunConfig
from fedtiny.data.samples import Samples
from fedtiny.data.server import ServerData
from fedtiny.data.statistics import Normalization, merge
from fedtiny.federation.described import counted, odd_statistics
from fedtiny.federation.state import ServerState
from fedtiny.methods.method import Start
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.event_parts import Story
from fedtiny.runs.events import ModelPrepared, Pretrained
from fedtiny.sparse.tensor import Floats
from fedtiny.training.choice import dense_engine
from fedtiny.training.pretraining import pretrain
from fedtiny.training.trainer import Trainer
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from strategies.exchange import Exchange
from strategies.facts import density_fields, started_event
from strategies.introductions import Introductions
from strategies.observer import Observer

Result = TypeVar("Result")


@dataclass(frozen=True)
class Preparation:
    """Of one run; attributes as of :class:`strategies.server.Server`."""

    config: RunConfig
    graph: Graph
    data: ServerData
    exchange: Exchange
    observer: Observer
    introductions: Introductions

    def run(self, initial: Mapping[str, Floats] | None = None) -> ServerState:
        """Descriptions, pre-training, and the method's own preparation.

        Args:
            initial: dense parameters and statistics by name to pre-train from, instead of those
                of ``model.torch``, or random ones.
        """
        if initial is None:
            initial = self.config.model.weights(self.graph, self.config.seed)
        self.observer.on_event(started_event(self.config, self.graph))
        normalization = self._describe()
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
            initial=initial,
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
            pretrained=self.config.pretraining.epochs > 0 or initial is not None,
            public=public,
            normalization=normalization,
            ask=self._ask,
            dense_trainer=self._dense_trainer,
        )
        prepared = self.config.method.prepare(start)
        story = cast(Story, prepared.story)
        self.observer.on_event(ModelPrepared(0, *density_fields(self.graph, prepared.model), story))
        return ServerState(0, prepared.model, normalization, prepared.story)

    def _describe(self) -> Normalization:
        """The normalization of the inputs of those who describe themselves."""
        descriptions = self.introductions.meet(self.exchange.asked(Phase.DESCRIBE, 0), 0)
        odd = odd_statistics(descriptions, self.config.trust.samples_factor)
        self.exchange.doubt(Phase.DESCRIBE, 0, odd)
        believed = [one.statistics for k, one in descriptions.items() if k not in odd]
        return merge(believed).normalization()

    def _ask(
        self, phase: Phase, packet: Packet, read: Callable[[int, Packet], Result]
    ) -> Sequence[Result]:
        described, factor = self.introductions.described, self.config.trust.samples_factor
        believed = counted(described, factor, phase, read)
        packets = dict.fromkeys(self.exchange.asked(phase, 0), packet)
        return list(self.exchange.ask(phase, 0, packets, believed).values())

    def _dense_trainer(self, model: SparseModel) -> Trainer:
        return dense_engine().evaluator(self.graph, model)
