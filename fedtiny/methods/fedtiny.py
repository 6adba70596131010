"""FedTiny: adaptive batch-norm selection, then progressive pruning.

Huang et al., "Distributed Pruning Towards Tiny Neural Networks in Federated Learning", ICDCS
2023 (arXiv 2212.01977).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any, ClassVar, Literal

import numpy as np
from typing_extensions import override

from fedtiny.aggregation.models import Votes, pooled_growth
from fedtiny.methods.method import Adjusted, Method, Prepared, RoundEnd, Start
from fedtiny.methods.settings import PruningSettings
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel, dense_names
from fedtiny.pruning.bn_selection import Moments, pool_statistics, select
from fedtiny.pruning.candidates import CandidatePool, build_candidates
from fedtiny.pruning.schedule import Granularity, Order, PruningSchedule
from fedtiny.seeding import rng
from fedtiny.settings import Count
from fedtiny.sparse.densities import erdos_renyi_kernel, layer_counts
from fedtiny.sparse.tensor import Floats
from fedtiny.tiers.block import Block
from fedtiny.tiers.cut import cut_dense, cut_pool
from fedtiny.training.trainer import Growth
from fedtiny.wire.candidates import CandidateLosses, CandidatesTask, CandidateStatistics
from fedtiny.wire.models import with_statistics
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase


class FedTinySettings(PruningSettings):
    """What only FedTiny has.

    Attributes:
        candidates: size C of the candidate pool.
        selection: ``adaptive`` re-estimates batch norm per candidate (ABNS), ``vanilla`` does
            not, ``none`` takes the uniform candidate.
        granularity, order: what one adjustment covers, and from which end; other methods adjust
            the entire model.
        votes: ``mean`` of devices' gradients decides which weights grow (Eq. 8); ``agreement``
            (ours, an ablation): times how much devices agree on its sign.
    """

    candidates: Count = 8
    selection: Literal["adaptive", "vanilla", "none"] = "adaptive"
    granularity: Granularity = Granularity.LAYER
    order: Order = Order.BACKWARD
    votes: Votes = Votes.MEAN

    @override
    def schedule(self, rounds: int) -> PruningSchedule:
        stop = self.stop or rounds // 2
        return PruningSchedule(self.interval, stop, self.granularity, self.order, self.fraction)


_TRIPS = {"adaptive": 2, "vanilla": 1, "none": 0}
"""To every device, by selection."""


@dataclass(frozen=True)
class FedTiny(Method[FedTinySettings]):
    """The method of the paper."""

    name: ClassVar[str] = "fedtiny"
    adjusts: ClassVar[bool] = True
    tiered: ClassVar[bool] = True

    @override
    @classmethod
    def settings_type(cls) -> type[FedTinySettings]:
        return FedTinySettings

    @override
    def prepare(self, start: Start) -> Prepared:
        """Coarse pruning into C candidates, of which the devices' losses choose one.

        Without pre-training the magnitudes ranked are those of the random initial weights: the
        positions kept are then drawn at random, and the story says so.
        """
        generator = rng(self.seed, "candidates")
        density = self.settings.density
        weights = start.weights
        pool = build_candidates(
            weights, density, self._pool_size(), generator, start.ranked(weights)
        )
        dense = {name: start.state[name] for name in dense_names(start.graph)}
        chosen, losses, statistics = self._select(start, pool, dense)
        whole = next((one for block, one in statistics.items() if block.is_whole), {})
        model = SparseModel(pool.candidate(chosen), with_statistics(dense, whole))
        story = self._story(pool, chosen, losses, start.pretrained)
        return Prepared(model, story, statistics)

    def _pool_size(self) -> int:
        return 1 if self.settings.selection == "none" else self.settings.candidates

    def _select(
        self, start: Start, pool: CandidatePool, dense: Mapping[str, Floats]
    ) -> tuple[int, list[float], Mapping[Block, Mapping[str, Moments]]]:
        """(c*, mean loss per candidate, the winner's batch-norm statistics by part)."""
        if self.settings.selection == "none":
            return 0, [], {}
        statistics: Mapping[Block, list[dict[str, Moments]]] = {}
        if self.settings.selection == "adaptive":
            statistics = self._estimate(start, pool, dense)
        replies = start.ask(
            Phase.CANDIDATE_LOSSES,
            lambda block: _task(start, pool, dense, block, statistics.get(block)),
            lambda _, packet: CandidateLosses.read(pool.size, packet),
        )
        loss_sums = np.sum([report.loss_sums for _, report in replies], axis=0).tolist()
        count = sum(report.count for _, report in replies)
        chosen = select(loss_sums, [count] * pool.size)
        losses = [loss_sum / count for loss_sum in loss_sums]
        return chosen, losses, {block: one[chosen] for block, one in statistics.items()}

    def _estimate(
        self, start: Start, pool: CandidatePool, dense: Mapping[str, Floats]
    ) -> dict[Block, list[dict[str, Moments]]]:
        """Pooled batch-norm statistics of every candidate, by part."""
        replies = start.ask(
            Phase.CANDIDATE_STATISTICS,
            lambda block: _task(start, pool, dense, block, None),
            lambda block, packet: CandidateStatistics.read(block.graph, pool.size, packet),
        )
        reports: dict[Block, list[CandidateStatistics]] = {}
        for block, report in replies:
            reports.setdefault(block, []).append(report)
        return {
            block: [
                pool_statistics([report.statistics[c] for report in some], self.settings.bn_pooling)
                for c in range(pool.size)
            ]
            for block, some in reports.items()
        }

    @override
    def adjust(self, end: RoundEnd) -> Adjusted:
        """Grow the largest merged gradients, prune as many of the smallest weights (Eq. 8)."""
        votes = self.settings.votes
        growth = pooled_growth(end.results, end.blocks, end.model.masks, votes)
        return Adjusted(exchange_weights(self.schedule, end, growth))

    @override
    def planned_counts(self, graph: Graph) -> dict[str, int]:
        """ERK's, which cost more than uniform ones, wherever they are in the pool."""
        density = self.settings.density
        if density == 1 or self._pool_size() <= 2:
            return super().planned_counts(graph)
        shapes = {layer.name: layer.weight_shape for layer in graph.prunable_layers}
        sizes = {name: prod(shape) for name, shape in shapes.items()}
        return layer_counts(erdos_renyi_kernel(shapes, density), sizes)

    @property
    @override
    def development_passes(self) -> int:
        return _TRIPS[self.settings.selection] * self.settings.candidates

    def _story(
        self, pool: CandidatePool, chosen: int, losses: list[float], pretrained: bool
    ) -> dict[str, Any]:
        sizes = [prod(layer.shape) for layer in pool.layers.values()]
        return {
            "method": self.name,
            "selection": self.settings.selection,
            "scores": "magnitude" if pretrained else "random",
            "chosen": chosen,
            "losses": losses,
            "densities": [
                dict(zip(pool.layers, (counts / np.array(sizes)).tolist(), strict=True))
                for counts in pool.counts
            ],
        }


def _task(
    start: Start,
    pool: CandidatePool,
    dense: Mapping[str, Floats],
    block: Block,
    statistics: list[dict[str, Moments]] | None,
) -> Packet:
    """The candidates as far as a part of the model goes."""
    part, held = cut_pool(pool, block), cut_dense(dense, block)
    return CandidatesTask(part, held, start.normalization, statistics).packet(block.graph)


def exchange_weights(schedule: PruningSchedule, end: RoundEnd, growth: Growth) -> SparseModel:
    """The combined model with as many weights grown as pruned in every ring of every layer."""
    weights = dict(end.model.weights)
    for name, found in growth.items():
        quota = partial(schedule.quota, end.round)
        weights[name] = end.rings.exchange(name, weights[name], found, quota)
    return SparseModel(weights, end.model.dense)
