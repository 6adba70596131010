"""What each kind of device of a fleet holds of a model, and how long a round of it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedtiny.clock.devices import link_of
from fedtiny.clock.flops import round_flops
from fedtiny.clock.seconds import RoundSeconds, round_seconds
from fedtiny.config import RunConfig, parse
from fedtiny.data.statistics import Normalization
from fedtiny.devices.budget import memory_plan
from fedtiny.devices.catalog import get
from fedtiny.devices.fleet import with_group
from fedtiny.devices.profile import DeviceProfile
from fedtiny.devices.tier_choice import choose_tier
from fedtiny.doctor.boards import estimate_flash_bytes
from fedtiny.errors import FedTinyError
from fedtiny.fleet.file import read_fleet
from fedtiny.fleet.group import Group, Seat, seats
from fedtiny.memory.ledger import LedgerEntry, LedgerLine, format_bytes
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.ops import Shape
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.pruning.masks import layer_masks
from fedtiny.seeding import rng
from fedtiny.sparse.densities import layer_counts
from fedtiny.tiers.block import block_of
from fedtiny.tiers.config import PolicyName
from fedtiny.wire.train import TrainResult, TrainTask


@dataclass(frozen=True, slots=True)
class Bytes:
    """Payload of one round's two messages, Flower's framing apart.

    Attributes:
        down, up: to the device, and from it.
    """

    down: int
    up: int


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
    """

    graph: Graph
    width: float
    density: float


def _held(config: RunConfig, graph: Graph, seat: Seat) -> Held:
    """Raises BudgetError if no part fits."""
    if not config.tiers.is_on:
        return Held(graph, 1.0, config.method.density)
    tier = choose_tier(config, graph, seat.partition, seat.group.device).tier
    density = tier.density if tier.width < 1 else min(tier.density, config.method.density)
    return Held(block_of(graph, tier.width).graph, tier.width, density)


def _examine(
    config: RunConfig, graph: Graph, samples: int, group: Group, members: Sequence[Seat]
) -> Kind:
    profile = with_group(get(group.device, config.devices.catalog), group)
    held, reasons = Held(graph, 1.0, config.method.density), list[str]()
    ledger, traffic, took = None, None, list[RoundSeconds]()
    try:
        held = _held(config, graph, members[0])
        model = _some_model(config, held)
        reasons += _flash_reason(profile, held)
        ledger = memory_plan(config, held.graph, members[0].partition, group.device, model.masks)
        if ledger is not None:
            traffic = _traffic(held.graph, model, ledger)
            flops = round_flops(config, held.graph, model, samples, ledger.step, {})
            took = [_price(config, profile, seat, flops, traffic) for seat in members]
            took.sort(key=lambda one: one.total)
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


def _flash_reason(profile: DeviceProfile, held: Held) -> list[str]:
    flash = estimate_flash_bytes(held.graph, held.density)
    if profile.flash_bytes is None or flash <= profile.flash_bytes:
        return []
    return [
        f"{profile.name}: its weights need {format_bytes(flash)} of flash, it has "
        f"{format_bytes(profile.flash_bytes)}; lower the density"
    ]


def _some_model(config: RunConfig, held: Held) -> SparseModel:
    """A model with random masks of the asked density: their size on the wire is a real one's."""
    graph = held.graph
    state = initial_state(graph, rng(config.seed, "fleet show"))
    generator = rng(config.seed, "fleet show masks")
    scores = {
        layer.name: generator.random(layer.weight_shape, np.float32)
        for layer in graph.prunable_layers
    }
    sizes = {name: score.size for name, score in scores.items()}
    counts = layer_counts(dict.fromkeys(sizes, held.density), sizes)
    return from_state(graph, state, layer_masks(scores, counts))


def _traffic(graph: Graph, model: SparseModel, ledger: LedgerEntry) -> Bytes:
    channels = graph.input_shape[0]
    unit = Normalization(np.zeros(channels, np.float32), np.ones(channels, np.float32))
    task = TrainTask(2, model, unit, {}, meter=False)  # round 1 is metered: the others are alike
    reply = TrainResult(model, ledger.batch, 0.0, {}, None)
    return Bytes(task.packet(graph).payload_bytes, reply.packet(graph).payload_bytes)
