"""FedTiny: adaptive batch-norm selection, then progressive pruning.

Huang et al., "Distributed Pruning Towards Tiny Neural Networks in Federated Learning", ICDCS
2023 (arXiv 2212.01977).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fedtiny.aggregation.models import pooled_growth
from fedtiny.config import RunConfig
from fedtiny.config.sections import PruningConfig
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel, dense_names
from fedtiny.pruning.bn_selection import Moments, pool_statistics, select
from fedtiny.pruning.candidates import CandidatePool, build_candidates
from fedtiny.pruning.schedule import PruningSchedule
from fedtiny.seeding import rng
from fedtiny.sparse.prune_and_grow import prune_and_grow
from fedtiny.sparse.tensor import Floats
from fedtiny.training.trainer import Growth
from fedtiny.wire.models import with_statistics
from fedtiny.wire.phase import Phase
from fedtiny.wire.results import CandidateLosses, CandidateStatistics
from fedtiny.wire.tasks import CandidatesTask
from strategies.algorithm import (
    Adjusted,
    Algorithm,
    Prepared,
    RoundEnd,
    Start,
    scheduled_quotas,
)


@dataclass(frozen=True)
class FedTiny(Algorithm):
    """The method of the paper, under the run's pruning settings.

    Attributes:
        pruning: density, candidates, selection.
        schedule: which layers are adjusted when.
    """

    pruning: PruningConfig
    schedule: PruningSchedule

    @classmethod
    def of(cls, config: RunConfig) -> FedTiny:
        """The method as ``config`` sets it."""
        return cls(config.pruning, config.schedule)

    def prepare(self, start: Start) -> Prepared:
        """Coarse pruning into C candidates, of which the devices' losses choose one.

        Without pre-training the magnitudes ranked are those of the random initial weights: the
        positions kept are then drawn at random, and the story says so.
        """
        generator = rng(start.config.seed, "candidates")
        pool = build_candidates(start.weights, self.pruning.density, self._pool_size(), generator)
        dense = {name: start.state[name] for name in dense_names(start.graph)}
        chosen, losses, statistics = self._select(start, pool, dense)
        model = SparseModel(pool.candidate(chosen), with_statistics(dense, statistics))
        return Prepared(model, _story(self.pruning, pool, chosen, losses, start.pretrained))

    def _pool_size(self) -> int:
        return 1 if self.pruning.selection == "none" else self.pruning.candidates

    def _select(
        self, start: Start, pool: CandidatePool, dense: Mapping[str, Floats]
    ) -> tuple[int, list[float], Mapping[str, Moments]]:
        """(c*, mean loss per candidate, the winner's batch-norm statistics)."""
        if self.pruning.selection == "none":
            return 0, [], {}
        statistics = None
        if self.pruning.selection == "adaptive":
            statistics = self._estimate(start, pool, dense)
        task = CandidatesTask(pool, dense, start.normalization, statistics)
        reports = start.exchange.ask(
            Phase.CANDIDATE_LOSSES,
            0,
            start.partitions,
            task.packet(start.graph),
            lambda _, packet: CandidateLosses.read(pool.size, packet),
        )
        loss_sums = np.sum([report.loss_sums for report in reports.values()], axis=0).tolist()
        count = sum(report.count for report in reports.values())
        chosen = select(loss_sums, [count] * pool.size)
        losses = [loss_sum / count for loss_sum in loss_sums]
        return chosen, losses, statistics[chosen] if statistics else {}

    def _estimate(
        self, start: Start, pool: CandidatePool, dense: Mapping[str, Floats]
    ) -> list[dict[str, Moments]]:
        """Pooled batch-norm statistics of every candidate."""
        task = CandidatesTask(pool, dense, start.normalization, None)
        reports = start.exchange.ask(
            Phase.CANDIDATE_STATISTICS,
            0,
            start.partitions,
            task.packet(start.graph),
            lambda _, packet: CandidateStatistics.read(start.graph, pool.size, packet),
        )
        return [
            pool_statistics(
                [report.statistics[c] for report in reports.values()], self.pruning.bn_pooling
            )
            for c in range(pool.size)
        ]

    def quotas(self, round: int, graph: Graph, model: SparseModel) -> Mapping[str, int]:
        """a_l of the layers whose turn it is, in graph order."""
        return scheduled_quotas(self.schedule, round, graph, model)

    def adjust(self, end: RoundEnd) -> Adjusted:
        """Grow the largest merged gradients, prune as many of the smallest weights (Eq. 8)."""
        return Adjusted(
            exchange_weights(self.schedule, end.round, end.model, pooled_growth(end.results))
        )


def exchange_weights(
    schedule: PruningSchedule, round: int, model: SparseModel, growth: Growth
) -> SparseModel:
    """``model`` with as many weights grown as pruned in every layer of ``growth``."""
    weights = dict(model.weights)
    for name, found in growth.items():
        mask = weights[name].mask
        quota = schedule.quota(round, mask.nnz, mask.size)
        weights[name] = prune_and_grow(weights[name], found, quota).weights
    return SparseModel(weights, model.dense)


def _story(
    pruning: PruningConfig,
    pool: CandidatePool,
    chosen: int,
    losses: list[float],
    pretrained: bool,
) -> dict[str, Any]:
    sizes = [int(np.prod(layer.shape)) for layer in pool.layers.values()]
    return {
        "method": "fedtiny",
        "selection": pruning.selection,
        "scores": "magnitude" if pretrained else "random",
        "chosen": chosen,
        "losses": losses,
        "densities": [
            dict(zip(pool.layers, (counts / np.array(sizes)).tolist(), strict=True))
            for counts in pool.counts
        ],
    }
