"""The part of a model that a device holds: the most wanted one that its budgets admit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from fedtiny.config import RunConfig
from fedtiny.devices.budget import largest_request, memory_plan, nominal_masks
from fedtiny.devices.planner import BudgetError
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.models.graph import Graph
from fedtiny.tiers.block import block_of
from fedtiny.tiers.tier import WHOLE, Tier


@dataclass(frozen=True, slots=True)
class Holding:
    """What a device trains.

    Attributes:
        tier: which part of the model.
        plan: of a training step; None for a device without a board, which holds all of it.
        passed_over: better parts, each with the reason why it is not this device's.
    """

    tier: Tier
    plan: LedgerEntry | None
    passed_over: Mapping[Tier, str]


def choose_tier(config: RunConfig, graph: Graph, partition: int, board: str) -> Holding:
    """The first part of the policy's ladder that fits ``board``.

    Args:
        config: with ``[tiers]``, budgets and batch size.
        graph: the whole model.
        partition: whose budget override applies.
        board: catalogue name; empty for a device without a budget.

    Raises:
        BudgetError: nothing fits, or the board does not train; names the smallest part tried.
        FedTinyError: no such board, or the model has no parts.
    """
    policy = config.tier_policy
    if policy is None or not board:
        plan = memory_plan(config, graph, partition, board)
        return Holding(WHOLE, plan, {})
    passed_over: dict[Tier, str] = {}
    for tiers in policy.ladder():
        plans = _Plans(config, graph, partition, board, tiers)
        if plans.of(len(tiers) - 1) is None:  # not even the thinnest
            passed_over[tiers[-1]] = str(plans.refusal)
            continue
        best = bisect_left(range(len(tiers)), True, key=lambda k: plans.of(k) is not None)
        passed_over |= {tiers[best - 1]: str(plans.refusal)} if best else {}
        return Holding(tiers[best], plans.of(best), passed_over)
    last = plans.refusal
    assert last is not None
    raise BudgetError(
        f"not even the smallest part of {graph.name} ({tiers[-1]}) fits: {last}",
        last.line,
        last.excess_bytes,
    )


class _Plans:
    """Plans of tiers that differ in density only, thinner ones later; each made once."""

    def __init__(
        self, config: RunConfig, graph: Graph, partition: int, board: str, tiers: Sequence[Tier]
    ) -> None:
        self._make = partial(tier_plan, config, graph, partition, board)
        self._tiers = tiers
        self._made: dict[int, LedgerEntry | None] = {}
        self.refusal: BudgetError | None = None

    def of(self, position: int) -> LedgerEntry | None:
        """The plan of a tier; None if it does not fit, which ``refusal`` then explains."""
        if position not in self._made:
            try:
                self._made[position] = self._make(self._tiers[position])
            except BudgetError as error:
                self._made[position], self.refusal = None, error
        return self._made[position]


def tier_plan(
    config: RunConfig, graph: Graph, partition: int, board: str, tier: Tier
) -> LedgerEntry | None:
    """A training step of one part within a board's memory; raises BudgetError if there is none."""
    block = block_of(graph, tier.width)
    density = min(tier.density, config.method.density) if tier.width == 1 else tier.density
    masks = nominal_masks(config, block.graph, density)
    quotas = largest_request(config, block.graph, masks)
    tiers = config.tiers
    return memory_plan(
        config, block.graph, partition, board, masks, quotas, tiers.min_micro_batch, tiers.headroom
    )
