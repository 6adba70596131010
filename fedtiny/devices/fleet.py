"""The devices of a run's fleet: board, budget and rate, link and availability of a partition."""

from __future__ import annotations

from dataclasses import replace

from fedtiny.config import RunConfig
from fedtiny.devices.catalog import get
from fedtiny.devices.profile import DeviceProfile
from fedtiny.fleet.group import Group


def profile_of(config: RunConfig, partition: int, board: str) -> DeviceProfile:
    """The board that holds ``partition``, with what the config replaces of it.

    Args:
        config: with its fleet.
        partition: whose device it is.
        board: catalogue name. A real device says its own; if that is not its group's, the group's
            numbers are not of it.

    Raises:
        FedTinyError: no such board.
    """
    devices = config.devices
    profile = get(board, devices.catalog)
    group = devices.group(partition)
    if group is not None and get(group.device, devices.catalog) == profile:
        profile = with_group(profile, group)
    return profile


def with_group(profile: DeviceProfile, group: Group) -> DeviceProfile:
    """A board with what a group's section replaces of it."""
    sources = dict(profile.sources)
    if group.sustained_flops is not None:
        sources["sustained"] = group.sustained_source
    budget, flash = group.budget_bytes, group.flash_bytes
    return replace(
        profile,
        training_budget_bytes=profile.training_budget_bytes if budget is None else budget,
        flash_bytes=profile.flash_bytes if flash is None else flash,
        sustained_flops=group.sustained_flops or profile.sustained_flops,
        sources=sources,
    )
