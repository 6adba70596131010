"""The part of a model that a device holds: the first that memory, flash and deadline admit."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from fedtiny.config import RunConfig
from fedtiny.devices.budget import largest_request, memory_plan, nominal_masks
from fedtiny.devices.deadline import check_deadline
from fedtiny.devices.flash import check_flash
from fedtiny.devices.fleet import profile_of
from fedtiny.devices.planner import RefusedError
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.memory.step import StepPlan
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


class NoPartError(RefusedError):
    """A device can train no part of a model; the message says why not even the smallest."""


def choose_tier(
    config: RunConfig, graph: Graph, partition: int, board: str, samples: int
) -> Holding:
    """The first part of the policy's ladder that fits memory, flash and deadline of a device.

    Args:
        config: with ``[tiers]``, ``[clock]``, budgets and batch size.
        graph: the whole model.
        partition: whose budget override and link apply.
        board: catalogue name; empty for a device without a budget.
        samples: that the device trains on.

    Raises:
        NoPartError: nothing fits, or the board does not train; names the smallest part tried.
        BudgetError: there are no parts, and the whole model does not fit.
        PriceError: there is a deadline, and nobody knows how long the device takes.
        FedTinyError: no such board, or the model has no parts.
    """
    policy = config.tier_policy
    if policy is None or not board:
        plan = memory_plan(config, graph, partition, board)
        return Holding(WHOLE, plan, {})
    passed_over: dict[Tier, str] = {}
    for tiers in policy.of(graph).ladder():
        plans = _Plans(config, graph, partition, board, samples, tiers)
        if plans.of(len(tiers) - 1) is None:  # not even the thinnest
            passed_over[tiers[-1]] = str(plans.refusal)
            continue
        best = bisect_left(range(len(tiers)), True, key=lambda k: plans.of(k) is not None)
        passed_over |= {tiers[best - 1]: str(plans.refusal)} if best else {}
        return Holding(tiers[best], plans.of(best), passed_over)
    raise NoPartError(
        f"not even the smallest part of {graph.name} ({tiers[-1]}) fits: {plans.refusal}"
    )


class _Plans:
    """Plans of tiers that differ in density only, thinner ones later; each made once."""

    def __init__(
        self,
        config: RunConfig,
        graph: Graph,
        partition: int,
        board: str,
        samples: int,
        tiers: Sequence[Tier],
    ) -> None:
        self._make = partial(tier_plan, config, graph, partition, board, samples)
        self._tiers = tiers
        self._made: dict[int, LedgerEntry | None] = {}
        self.refusal: RefusedError | None = None

    def of(self, position: int) -> LedgerEntry | None:
        """The plan of a tier; None if it does not fit, which ``refusal`` then explains."""
        if position not in self._made:
            try:
                self._made[position] = self._make(self._tiers[position])
            except RefusedError as error:
                self._made[position], self.refusal = None, error
        return self._made[position]


def tier_plan(
    config: RunConfig, graph: Graph, partition: int, board: str, samples: int, tier: Tier
) -> LedgerEntry | None:
    """A training step of one part that a device can hold, run later, and end in time.

    Raises:
        BudgetError, FlashError, DeadlineError: it cannot.
    """
    part = block_of(graph, tier.width).graph
    density = tier_density(config, tier)
    masks = nominal_masks(config, part, density)
    quotas = largest_request(config, part, masks)
    tiers = config.tiers
    plan = memory_plan(
        config, part, partition, board, masks, quotas, tiers.min_micro_batch, tiers.headroom
    )
    check_flash(profile_of(config, partition, board), part, density)
    step = plan.step if plan else StepPlan(config.training.batch_size)
    check_deadline(config, part, density, partition, samples, step, quotas)
    return plan


def tier_density(config: RunConfig, tier: Tier) -> float:
    """Of a part's weights: the whole model has no more of them than its masks."""
    return min(tier.density, config.method.density) if tier.width == 1 else tier.density
