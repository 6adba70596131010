"""Before round 1: what devices say of themselves, pre-training, and the first masks."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar, cast

from fedtiny.config import RunConfig
from fedtiny.data.samples import Samples
from fedtiny.data.server import ServerData
from fedtiny.data.statistics import Normalization, merge
from fedtiny.federation.described import counted, odd_statistics
from fedtiny.federation.parts import Parts, Statistics, grouped
from fedtiny.federation.sampling import sample
from fedtiny.federation.state import ServerState
from fedtiny.methods.method import Prepared, Start
from fedtiny.methods.trials import Trials
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.event_parts import Story
from fedtiny.runs.events import ModelPrepared, Pretrained
from fedtiny.seeding import rng
from fedtiny.sparse.tensor import Floats
from fedtiny.tiers.block import Block, block_of
from fedtiny.tiers.cut import ranks_of
from fedtiny.tiers.sorting import sort_channels
from fedtiny.tiers.tier import WHOLE, Tier
from fedtiny.training.choice import dense_engine
from fedtiny.training.pretraining import pretrain
from fedtiny.training.trainer import Trainer
from fedtiny.wire.candidates import CandidateLosses
from fedtiny.wire.describe import Description
from fedtiny.wire.models import with_statistics
from fedtiny.wire.packet import Packet
from fedtiny.wire.part import about_part
from fedtiny.wire.phase import Phase
from strategies.contest import Contest
from strategies.exchange import Exchange, FederationError
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
        state = self._pretrained(Samples(public, normalization), initial)
        parts = Parts(self.graph, self.config.tier_policy, self.introductions.tiers)
        if self.config.tier_policy and self.config.tier_policy.sorts and not parts.are_all_whole:
            state = sort_channels(self.graph, state)
        start = Start(
            graph=self.graph,
            state=state,
            pretrained=self.config.pretraining.epochs > 0 or initial is not None,
            public=public,
            normalization=normalization,
            ask=partial(self._ask, parts),
            trials=self._trials(Samples(public, normalization), initial),
            dense_trainer=self._dense_trainer,
            ranked=partial(self._ranked, parts),
        )
        prepared = self.config.method.prepare(start)
        story = cast(Story, prepared.story)
        if prepared.tier is not None:
            self.introductions.settle(prepared.tier)
            parts = Parts(self.graph, self.config.tier_policy, self.introductions.tiers)
        model, trained = prepared.model, parts.block(parts.top, 0).graph
        self.observer.on_event(ModelPrepared(0, *density_fields(self.graph, model, trained), story))
        return ServerState(
            0,
            model,
            normalization,
            prepared.story,
            prepared.memory,
            tiers=dict(parts.tiers),
            statistics=self._statistics(parts, prepared),
            ranks={} if parts.are_all_whole else ranks_of(model),
        )

    def _pretrained(
        self, public: Samples, initial: Mapping[str, Floats] | None
    ) -> Mapping[str, Floats]:
        """Dense parameters and statistics; where devices choose a shape, those of its channels."""
        self.observer.on_phase(Phase.PRETRAIN, 0)
        started = time.monotonic()
        policy, tiers = self.config.tier_policy, self.introductions.tiers
        shapes = policy.contenders(min(tiers.values())) if policy and tiers else []
        if shapes:
            state, accuracy = self._contest(shapes, public, initial)
        else:
            state, accuracy = self._pretrain(self.graph, public, initial)
        seconds, epochs = time.monotonic() - started, self.config.pretraining.epochs
        self.observer.on_event(Pretrained(0, seconds, len(public), epochs, accuracy))
        return state

    def _pretrain(
        self, graph: Graph, public: Samples, initial: Mapping[str, Floats] | None
    ) -> tuple[dict[str, Floats], float]:
        return pretrain(
            self.config.pretraining,
            graph,
            public,
            momentum=self.config.training.momentum,
            weight_decay=self.config.training.weight_decay,
            seed=self.config.seed,
            initial=initial,
        )

    def _trials(self, public: Samples, initial: Mapping[str, Floats] | None) -> Trials:
        config, tiers = self.config, self.introductions.tiers
        begin = None if initial is None else sort_channels(self.graph, initial)

        def draw(number: int) -> list[int]:
            asked = self.exchange.asked(Phase.TRAIN, 0)
            able = [k for k in asked if k in tiers or not tiers]
            return sample(config.seed, "race", number, able, config.federation.drawn)

        def ask(
            phase: Phase, packets: Mapping[int, Packet], read: Callable[[int, Packet], Result]
        ) -> dict[int, Result]:
            return self.exchange.ask(phase, 0, packets, self._believed(phase, read))

        def part(block: Block) -> dict[str, Floats]:
            whole = begin or {}
            cut = {name: block.axes[name].cut(array) for name, array in whole.items()}
            return self._pretrain(block.graph, public, cut or None)[0]

        largest = min(tiers.values(), default=WHOLE)
        return Trials(largest, draw, ask, part, config.trust.combiner)

    def _contest(
        self, shapes: list[Tier], public: Samples, initial: Mapping[str, Floats] | None
    ) -> tuple[Mapping[str, Floats], float]:
        """The winner's parameters, others outside of its channels, and their accuracy."""
        contest = Contest(self.config, self.graph, self.observer, self._losses)
        begin = None if initial is None else sort_channels(self.graph, initial)
        winner = contest.winner(shapes, public, begin)
        self.introductions.settle(winner.tier)
        state = begin or initial_state(self.graph, rng(self.config.seed, "initialization"))
        axes = winner.block.axes
        inside = {name: axes[name].spread(one, state[name]) for name, one in winner.state.items()}
        return {**state, **inside}, winner.accuracy

    def _losses(self, tier: Tier, packet: Packet) -> dict[int, CandidateLosses]:
        """Of a pool of one candidate of one shape, by partition."""
        phase = Phase.CANDIDATE_LOSSES
        asked = [k for k in self.exchange.asked(phase, 0) if k in self.introductions.tiers]
        read = self._believed(phase, lambda _, reply: CandidateLosses.read(1, reply))
        task = about_part(packet, tier.width)
        return self.exchange.ask(phase, 0, dict.fromkeys(asked, task), read)

    def _believed(
        self, phase: Phase, read: Callable[[int, Packet], Result]
    ) -> Callable[[int, Packet], Result]:
        factor = self.config.trust.samples_factor
        return counted(self.introductions.described, factor, phase, read)

    def _ranked(self, parts: Parts, scores: Mapping[str, Floats]) -> Mapping[str, Floats]:
        if parts.rings.slope == 0:
            return scores
        return parts.rings.ranked(scores, self.config.method.density)

    def _statistics(self, parts: Parts, prepared: Prepared) -> Statistics:
        """Of the parts that devices measured, by tier, in the model's shapes."""
        found: dict[Tier, dict[str, Floats]] = {}
        for tier in parts.kinds:
            block = parts.block(tier, 0)
            moments = prepared.statistics.get(block)
            if tier.is_whole or moments is None:
                continue
            inside = with_statistics({}, moments)
            found[tier] = {
                name: block.axes[name].spread(array, prepared.model.dense[name])
                for name, array in inside.items()
            }
        return found

    def _describe(self) -> Normalization:
        """The normalization of the inputs of those who describe themselves."""
        descriptions = self.introductions.meet(self.exchange.asked(Phase.DESCRIBE, 0), 0)
        self._check_tiers(descriptions)
        odd = odd_statistics(descriptions, self.config.trust.samples_factor)
        self.exchange.doubt(Phase.DESCRIBE, 0, odd)
        believed = [one.statistics for k, one in descriptions.items() if k not in odd]
        return merge(believed).normalization()

    def _check_tiers(self, descriptions: Mapping[int, Description]) -> None:
        """Raise FederationError if nobody can train anything."""
        policy = self.config.tier_policy
        if policy is None or self.introductions.tiers:
            return
        reasons = dict.fromkeys(one.refused for one in descriptions.values())
        raise FederationError(
            f"{policy.setting}: no device can train any part of {self.graph.name} at "
            f"pruning.density = {self.config.method.density:g}: " + "; ".join(reasons)
        )

    def _ask(
        self,
        parts: Parts,
        phase: Phase,
        pack: Callable[[Block], Packet],
        read: Callable[[Block, Packet], Result],
    ) -> Sequence[tuple[Block, Result]]:
        packets: dict[int, Packet] = {}
        blocks: dict[int, Block] = {}
        able = (k for k in self.exchange.asked(phase, 0) if parts.trains(k))
        for width, partitions in grouped((k, parts.tier(k).width) for k in able).items():
            block = block_of(self.graph, width)
            packets |= dict.fromkeys(partitions, about_part(pack(block), width))
            blocks |= dict.fromkeys(partitions, block)

        def read_part(partition: int, packet: Packet) -> Result:
            return read(blocks[partition], packet)

        believed = self._believed(phase, read_part)
        replies = self.exchange.ask(phase, 0, dict(sorted(packets.items())), believed)
        return [(blocks[k], reply) for k, reply in replies.items()]

    def _dense_trainer(self, model: SparseModel) -> Trainer:
        return dense_engine().evaluator(self.graph, model)
