"""What each kind of device of a fleet holds of a model, and how long a round of it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fedtiny.config import RunConfig, parse
from fedtiny.devices.budget import memory_plan
from fedtiny.devices.catalog import get
from fedtiny.devices.deadline import check_deadline
from fedtiny.devices.flash import estimate_flash_bytes, flash_reason, layer_nnz
from fedtiny.devices.fleet import with_group
from fedtiny.devices.flops import round_flops
from fedtiny.devices.profile import DeviceProfile
from fedtiny.devices.seconds import RoundSeconds, link_of, round_seconds
from fedtiny.devices.tier_choice import choose_tier, tier_density
from fedtiny.devices.traffic import Bytes, round_bytes, some_model
from fedtiny.errors import FedTinyError
from fedtiny.fleet.file import read_fleet
from fedtiny.fleet.group import Group, Seat, seats
from fedtiny.memory.ledger import LedgerEntry, LedgerLine
from fedtiny.models.graph import Graph
from fedtiny.models.ops import Shape
from fedtiny.tiers.block import block_of
from fedtiny.tiers.config import PolicyName
from fedtiny.tiers.tier import Tier


@dataclass(frozen=True, slots=True)
class Kind:
    """A group's row.

    Attributes:
        group: its name.
        device: catalogue name of its board.
        count: devices.
        width, density: of what each holds of the model.
        budget_bytes: what a training step may use.
        ledger: of the largest step that fits; None if none does.
        flash_bytes: of the model as int8, estimated.
        traffic: of a round; None if the group is refused.
        seconds: simulated, of the device in the middle; None if the group is refused.
        slowest_s: simulated, of the slowest device.
        sustained: rate while training with its source, for people.
        refused: why the group cannot train; empty if it can.
        passed_over: parts that would be better, each with the reason why it is not the group's.
    """

    group: str
    device: str
    count: int
    width: float
    density: float
    budget_bytes: int
    ledger: LedgerEntry | None
    flash_bytes: int
    traffic: Bytes | None
    seconds: RoundSeconds | None
    slowest_s: float | None
    sustained: str
    refused: str
    passed_over: Mapping[Tier, str]

    def to_json(self) -> dict[str, Any]:
        """Plain types; what is not known of a refused group is null. Seconds are simulated."""
        ledger, seconds, traffic = self.ledger, self.seconds, self.traffic
        return {
            "group": self.group,
            "device": self.device,
            "count": self.count,
            "width": self.width,
            "density": self.density,
            "micro_batch": ledger and ledger.step.micro_batch,
            "recompute": ledger and list(ledger.step.recompute),
            "peak_bytes": ledger and ledger.predicted_peak_bytes,
            "budget_bytes": self.budget_bytes,
            "lines": ledger and {k.value: ledger.lines.get(k, 0) for k in LedgerLine},
            "flash_bytes": self.flash_bytes,
            "down_bytes": traffic and traffic.down,
            "up_bytes": traffic and traffic.up,
            "seconds_per_round": seconds and seconds.total,
            "seconds": seconds
            and {"down": seconds.down, "compute": seconds.compute, "up": seconds.up},
            "seconds_slowest": self.slowest_s,
            "sustained": self.sustained,
            "refused": self.refused,
            "passed_over": [
                {"width": tier.width, "density": tier.density, "reason": reason}
                for tier, reason in self.passed_over.items()
            ],
        }


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of a fleet.

    Attributes:
        model: registered.
        input_shape: of a sample.
        classes: of the model.
        batch: samples per optimizer step.
        density: of the global model.
        samples: that every device trains on.
        epochs: local passes per round.
        catalog: a file with boards of one's own; empty for none.
        tiers: who trains which part of the model, as ``tiers.policy``.
        deadline_s: simulated seconds after which a round is over; 0: never.
    """

    model: str
    input_shape: Shape
    classes: int
    batch: int
    density: float
    samples: int
    epochs: int
    catalog: str = ""
    tiers: PolicyName = PolicyName.NONE
    deadline_s: float = 0.0

    def config(self, groups: tuple[Group, ...]) -> RunConfig:
        """Of a run that would ask this; its seed, 0, decides what chance does to links."""
        return parse(
            {
                "data": {"partitions": len(seats(groups))},
                "model": {"name": self.model},
                "training": {"batch_size": self.batch, "epochs": self.epochs},
                "pruning": {"density": self.density},
                "devices": {"groups": groups, "catalog": self.catalog},
                "tiers": {"policy": self.tiers},
                "clock": {"mode": "synchronous" if self.deadline_s else "off"}
                | {"deadline_s": self.deadline_s},
            }
        )


def examine_fleet(path: Path, question: Question) -> list[Kind]:
    """Each group's row, in the order of the fleet's file.

    Args:
        path: of the file.
        question: what is asked of it.

    Raises:
        FedTinyError: the file cannot be used, the catalogue does not have a board, there is no
            such model, or none of this density.
    """
    config = question.config(read_fleet(path))
    graph = config.graph(question.input_shape, question.classes)
    samples = question.samples
    by_group: dict[str, list[Seat]] = {}
    for seat in seats(config.devices.groups):
        by_group.setdefault(seat.group.name, []).append(seat)
    return [
        _examine(config, graph, samples, group, by_group[group.name])
        for group in config.devices.groups
    ]


@dataclass(frozen=True, slots=True)
class Held:
    """What a device holds of a model.

    Attributes:
        graph: all of it, or the part.
        width: share of the channels.
        density: of its weights.
        passed_over: better parts, each with the reason why it is not this device's.
    """

    graph: Graph
    width: float
    density: float
    passed_over: Mapping[Tier, str]


def _held(config: RunConfig, graph: Graph, seat: Seat, samples: int) -> Held:
    """Raises NoPartError if no part fits."""
    if not config.has_parts:
        return Held(graph, 1.0, config.method.density, {})
    holding = choose_tier(config, graph, seat.partition, seat.group.device, samples)
    tier = holding.tier
    part, density = block_of(graph, tier.width).graph, tier_density(config, tier)
    return Held(part, tier.width, density, holding.passed_over)


def _examine(
    config: RunConfig, graph: Graph, samples: int, group: Group, members: Sequence[Seat]
) -> Kind:
    try:
        profile = with_group(get(group.device, config.devices.catalog), group)
    except FedTinyError as error:
        raise FedTinyError(f"group {group.name!r}: {error}") from error
    held, reasons = Held(graph, 1.0, config.method.density, {}), list[str]()
    ledger, traffic, took = None, None, list[RoundSeconds]()
    partition = members[0].partition
    try:
        held = _held(config, graph, members[0], samples)
        if flash := flash_reason(profile, held.graph, held.density):
            reasons.append(f"{profile.name}: {flash}")
        model = some_model(held.graph, held.density)
        ledger = memory_plan(config, held.graph, partition, group.device, model.masks)
        if ledger is not None:
            traffic = round_bytes(held.graph, held.density)
            present = layer_nnz(held.graph, held.density)
            flops = round_flops(config, held.graph, present, samples, ledger.step, {})
            took = [_price(config, profile, seat, flops, traffic) for seat in members]
            took.sort(key=lambda one: one.total)
            of = config, held.graph, held.density, partition, samples
            check_deadline(*of, ledger.step, {})
    except FedTinyError as error:
        reasons.append(str(error))
    return Kind(
        group=group.name,
        device=profile.name,
        count=len(members),
        width=held.width,
        density=held.density,
        budget_bytes=profile.training_budget_bytes,
        ledger=ledger,
        flash_bytes=estimate_flash_bytes(held.graph, held.density),
        traffic=traffic,
        seconds=took[(len(took) - 1) // 2] if took else None,
        slowest_s=took[-1].total if took else None,
        sustained=_rate(profile),
        refused="; ".join(reasons),
        passed_over=held.passed_over,
    )


def _price(
    config: RunConfig, profile: DeviceProfile, seat: Seat, flops: int, traffic: Bytes
) -> RoundSeconds:
    link = link_of(seat, config.seed)
    return round_seconds(profile, link, flops, traffic.down, traffic.up, round=1)


def _rate(profile: DeviceProfile) -> str:
    if profile.sustained_flops is None:
        return ""
    return f"{profile.sustained_flops / 1e6:g} MFLOP/s ({profile.sources['sustained']})"
