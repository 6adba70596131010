"""The part of a model that a device holds: the most wanted one that its budgets admit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
    for tier in policy.ladder():
        try:
            plan = tier_plan(config, graph, partition, board, tier)
        except BudgetError as error:
            passed_over[tier], last = str(error), error
            continue
        return Holding(tier, plan, passed_over)
    raise BudgetError(
        f"not even the smallest part of {graph.name} ({tier}) fits: {last}",
        last.line,
        last.excess_bytes,
    )


def tier_plan(
    config: RunConfig, graph: Graph, partition: int, board: str, tier: Tier
) -> LedgerEntry | None:
    """A training step of one part within a board's memory; raises BudgetError if there is none."""
    block = block_of(graph, tier.width)
    density = min(tier.density, config.method.density) if tier.width == 1 else tier.density
    masks = nominal_masks(config, block.graph, density)
    quotas = largest_request(config, block.graph, masks)
    return memory_plan(
        config, block.graph, partition, board, masks, quotas, config.tiers.min_micro_batch
    )
