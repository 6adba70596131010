"""Whether a device's rounds will end before the simulated clock's deadline."""

from __future__ import annotations

from collections.abc import Mapping

from fedtiny.config import RunConfig
from fedtiny.devices.flash import layer_nnz
from fedtiny.devices.fleet import profile_of
from fedtiny.devices.flops import round_flops
from fedtiny.devices.planner import RefusedError
from fedtiny.devices.seconds import RoundSeconds, link_of, round_seconds
from fedtiny.devices.traffic import round_bytes
from fedtiny.fleet.group import Seat, seats
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph


class DeadlineError(RefusedError):
    """A device's rounds would end too late; the message says what takes how long."""


def check_deadline(
    config: RunConfig,
    graph: Graph,
    density: float,
    partition: int,
    samples: int,
    step: StepPlan,
    quotas: Mapping[str, int],
) -> None:
    """See that a device is not late every time; nothing to see without ``clock.deadline_s``.

    The link is taken at its mean rates in the long run and at its slowest jitter, and as with
    memory ``tiers.headroom`` of the deadline stays free: messages are a little larger than what
    they carry, masks less even than a plan assumes.

    Args:
        config: with clock and fleet.
        graph: the model, or the part of one.
        density: nnz / prunable weights, in (0, 1].
        partition: that the device holds.
        samples: that it trains on.
        step: how it goes through one step.
        quotas: gradients of absent weights asked for, at most.

    Raises:
        DeadlineError: it would be late.
        PriceError: the device has no link, or its board states no rate.
    """
    deadline_s = config.clock.deadline_s if config.clock.is_on else 0.0
    if not deadline_s:
        return
    seat = seats(config.devices.groups)[partition]
    took = _planned(config, graph, density, seat, samples, step, quotas)
    left_s = deadline_s * (1 - config.tiers.headroom)
    if took.total > left_s:
        raise DeadlineError(
            f"{seat.group.device}: a round takes {took.total:.3g} simulated seconds "
            f"({took.down:.3g} receiving, {took.compute:.3g} training, {took.up:.3g} sending), "
            f"{took.total - left_s:.3g} more than its {left_s:.3g} of clock.deadline_s = "
            f"{deadline_s:g}; lengthen the deadline, or train on less: training.epochs"
        )


def _planned(
    config: RunConfig,
    graph: Graph,
    density: float,
    seat: Seat,
    samples: int,
    step: StepPlan,
    quotas: Mapping[str, int],
) -> RoundSeconds:
    profile = profile_of(config, seat.partition, seat.group.device)
    present = layer_nnz(graph, 1.0 if config.method.dense_step else density)
    flops = round_flops(config, graph, present, samples, step, quotas)
    size = round_bytes(graph, density).adjusting(graph, quotas)
    link = link_of(seat, config.seed).lasting()
    return round_seconds(profile, link, flops, size.down, size.up)
