"""Which part of a model a device is given: the first that its memory, flash and deadline admit."""

from __future__ import annotations

import numpy as np
import pytest

from fedtiny.bench.synthetic import integer_model
from fedtiny.clock.devices import TimedDevices
from fedtiny.config import RunConfig, parse
from fedtiny.data.statistics import Normalization
from fedtiny.devices.flash import estimate_flash_bytes
from fedtiny.devices.fleet import profile_of
from fedtiny.devices.seconds import PriceError
from fedtiny.devices.tier_choice import Holding, NoPartError, choose_tier
from fedtiny.devices.traffic import some_model
from fedtiny.escaping.free_text import TextError
from fedtiny.firmware.cores import Core
from fedtiny.firmware.planner import Target, fit, target_of
from fedtiny.models import build
from fedtiny.tiers.block import block_of
from fedtiny.tiers.tier import WHOLE, Tier
from fedtiny.wire.packet import Packet, WireError
from fedtiny.wire.part import read_tier, tier_packet
from fedtiny.wire.train import TrainTask

GRAPH = build("smartwatch_cnn", (6, 1, 128), 7)
SAMPLES = 100
LINK = {"down_kbps": 100, "up_kbps": 50, "jitter": 0.2}


def config(policy: str = "nested", deadline_s: float = 0.0, **group: object) -> RunConfig:
    board = {"name": "board", "device": "esp32_s3", "count": 1, "link": LINK, **group}
    clock = {"mode": "synchronous", "deadline_s": deadline_s} if deadline_s else {}
    return parse(
        {
            "data": {"partitions": 1},
            "pruning": {"method": "magnitude", "density": 0.2},
            "devices": {"groups": [board]},
            "tiers": {"policy": policy},
            "clock": clock,
        }
    )


def choose(found: RunConfig, board: str = "esp32_s3") -> Holding:
    return choose_tier(found, GRAPH, 0, board, SAMPLES)


def seconds(found: RunConfig, tier: Tier, round: int) -> float:
    """What the clock says of a round: of real packets' payload, and with the round's jitter."""
    part = block_of(GRAPH, tier.width).graph
    density = min(tier.density, 0.2) if tier.width == 1 else tier.density
    model = some_model(part, density)
    unit = Normalization(np.zeros(6, np.float32), np.ones(6, np.float32))
    task, devices = TrainTask(round, model, unit, {}, meter=False), TimedDevices(found)
    down = task.packet(part).payload_bytes
    up = 4 * sum(array.size for array in (*model.dense.values(), *_values(model))) + 16
    course = devices.run(devices.start(0, round, round, 0.0), part, task, SAMPLES, down, up)
    return course.ended_s


def _values(model: object) -> list[np.ndarray]:
    return [weight.values for weight in model.weights.values()]  # type: ignore[attr-defined]


@pytest.mark.parametrize("deadline_s", [30.0, 12.0, 5.0])
def test_a_part_is_as_large_as_the_deadline_admits(deadline_s: float) -> None:
    found = config(deadline_s=deadline_s)
    held = choose(found)
    assert not held.tier.is_whole
    assert max(seconds(found, held.tier, round) for round in range(1, 20)) <= deadline_s
    for better, reason in held.passed_over.items():
        assert better > held.tier
        assert max(seconds(found, better, round) for round in range(1, 20)) > 0.9 * deadline_s
        assert f"of clock.deadline_s = {deadline_s:g}" in reason


@pytest.mark.parametrize("flash_bytes", [55_000, 45_000])
def test_a_part_is_as_large_as_flash_admits_and_the_exporter_agrees(flash_bytes: int) -> None:
    found = config(flash_bytes=flash_bytes, device="stm32h743", budget_bytes=8 * 2**20)
    held = choose(found, "stm32h743")
    assert not held.tier.is_whole
    assert held.passed_over
    for reason in held.passed_over.values():
        assert "of flash beside 32.0 KiB for code" in reason
    part = block_of(GRAPH, held.tier.width).graph
    target = target_of(profile_of(found, 0, "stm32h743"))
    assert not fit(integer_model(part, density=held.tier.density), target).problems


@pytest.mark.parametrize("density", [0.02, 0.3, 1.0])
def test_the_exporter_never_needs_more_flash_than_was_predicted(density: float) -> None:
    tiny = Target("as small as can be", Core.M4, flash_bytes=1)
    needed = fit(integer_model(GRAPH, density=density), tiny).plan.flash_bytes
    assert needed <= estimate_flash_bytes(GRAPH, density) < 1.6 * needed


def test_without_deadline_and_with_room_in_flash_only_memory_decides() -> None:
    free = choose(config())
    assert (free.tier, free.passed_over) == (WHOLE, {})
    assert choose(config(deadline_s=1e6)).tier == WHOLE
    narrow = choose(config(budget_bytes=400_000))
    assert narrow.tier.width < 1
    assert all("more than the budget" in reason for reason in narrow.passed_over.values())


def test_a_device_that_no_part_is_quick_enough_for_says_so() -> None:
    with pytest.raises(NoPartError, match=r"\(width 0.125, density .*\) fits: esp32_s3: a round"):
        choose(config(deadline_s=0.5))
    with pytest.raises(NoPartError, match=r"whole|width 1, density 1"):
        choose(config("exclude", deadline_s=5.0))
    with pytest.raises(PriceError, match="has no link"):
        choose(config(deadline_s=5.0, link=None))


def test_a_device_tells_what_it_passed_over() -> None:
    passed = {WHOLE: "too  large\nby far", Tier(1.0, 0.3 / 7): "too slow"}
    packet = tier_packet(Tier(0.5, 0.4), "", passed)
    tier, refused, again = read_tier(packet)
    assert (tier, refused) == (Tier(0.5, 0.4), "")
    assert again == {WHOLE: "too large by far", Tier(1.0, 0.3 / 7): "too slow"}


@pytest.mark.parametrize(
    ("parts", "reasons", "error"),
    [
        (np.ones((1, 2)), "one\ntwo", WireError),
        (np.zeros((1, 2)), "one", WireError),
        (np.full((1, 2), np.nan), "one", WireError),
        (np.ones((1, 2), np.float32), "one", WireError),
        (np.ones((65, 2)), "\n".join(["one"] * 65), WireError),
        (np.ones((1, 2)), "\x1b[2J", TextError),
        (np.ones((1, 2)), "x" * 201, TextError),
        (np.ones((1, 2)), "", TextError),
    ],
)
def test_lies_about_parts_are_refused(parts: np.ndarray, reasons: str, error: type) -> None:
    own = tier_packet(Tier(0.5, 0.4))
    lie = Packet({"tier_passed": parts}, {**own.scalars, "tier_reasons": reasons})
    with pytest.raises(error):
        read_tier(lie)
