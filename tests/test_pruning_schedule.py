"""When what is adjusted by how much."""

from math import ceil, cos, pi

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Pool
from fedtiny.models.zoo.resnet8 import resnet8
from fedtiny.pruning.schedule import Granularity, Order, PruningSchedule, ScheduleError

RESNET8 = resnet8((3, 32, 32), 10)


def test_adjustments_are_multiples_of_the_interval_up_to_the_stop():
    schedule = PruningSchedule(interval=3, stop=10)
    due = {r: schedule.adjustment(r) for r in range(15) if schedule.adjustment(r) is not None}
    assert due == {3: 0, 6: 1, 9: 2}
    assert PruningSchedule(interval=5, stop=10).adjustment(10) == 1
    assert PruningSchedule(interval=1, stop=0).adjustment(1) is None


def test_quota_by_hand():
    schedule = PruningSchedule(interval=1, stop=6)
    # cos(π r/6): √3/2, ½, 0, −½, −√3/2, −1
    assert [schedule.quota(r, 200, 10_000) for r in range(1, 8)] == [56, 45, 30, 15, 5, 0, 0]
    assert PruningSchedule(1, 6, fraction=0.2).quota(3, 200, 10_000) == 40


def test_quota_is_capped_by_the_pruned_weights_and_leaves_one():
    schedule = PruningSchedule(interval=1, stop=100, fraction=0.5)
    assert schedule.quota(1, 100, 100) == 0
    assert schedule.quota(1, 100, 107) == 7
    assert schedule.quota(1, 2, 100) == 1
    assert schedule.quota(1, 1, 100) == 0
    assert schedule.quota(1, 0, 100) == 0


@given(st.integers(1, 200), st.integers(1, 200), st.integers(0, 5000), st.integers(0, 5000))
def test_quota_follows_the_formula_and_its_caps(round, stop, nnz, pruned):
    quota = PruningSchedule(interval=1, stop=stop).quota(round, nnz, nnz + pruned)
    if round > stop:
        assert quota == 0
        return
    formula = 0.15 * (1 + cos(pi * round / stop)) * nnz
    assert quota == max(0, min(ceil(formula - 1e-9), pruned, nnz - 1))


def test_resnet8_blocks_from_output_to_input():
    schedule = PruningSchedule(interval=10, stop=100)
    assert [schedule.block(RESNET8, counter) for counter in range(4)] == [
        ("stage3.conv1", "stage3.conv2", "stage3.shortcut"),
        ("stage2.conv1", "stage2.conv2", "stage2.shortcut"),
        ("stage1.conv1", "stage1.conv2"),
        ("stage3.conv1", "stage3.conv2", "stage3.shortcut"),
    ]


def test_forward_layers_and_entire():
    layers = tuple(layer.name for layer in RESNET8.prunable_layers)
    forward = PruningSchedule(1, 9, Granularity.LAYER, Order.FORWARD)
    assert [forward.block(RESNET8, c) for c in range(len(layers))] == [(name,) for name in layers]
    entire = PruningSchedule(1, 9, Granularity.ENTIRE)
    assert entire.block(RESNET8, 0) == entire.block(RESNET8, 5) == layers


@pytest.mark.parametrize("interval", [1, 2, 3, 5, 10])
@pytest.mark.parametrize("granularity", list(Granularity))
@pytest.mark.parametrize("order", list(Order))
def test_every_layer_is_reached_whatever_the_interval(interval, granularity, order):
    schedule = PruningSchedule(interval, 8 * interval, granularity, order)
    reached = [
        name
        for r in range(1, schedule.stop + 1)
        if (counter := schedule.adjustment(r)) is not None
        for name in schedule.block(RESNET8, counter)
    ]
    assert set(reached) == {layer.name for layer in RESNET8.prunable_layers}


def graph(*blocks):
    convolutions = [
        Conv(
            f"conv{i}",
            f"conv{i - 1}" if i else INPUT,
            2,
            2,
            (1, 1),
            block=block,
            prunable=i > 0,
        )
        for i, block in enumerate(blocks)
    ]
    tail = [Pool("pool", convolutions[-1].name), Linear("classifier", "pool", 2, 2, prunable=False)]
    return Graph("tiny", (2, 4, 4), (*convolutions, *tail))


def test_a_layer_without_a_block_name_is_a_block_of_its_own():
    schedule = PruningSchedule(1, 9, order=Order.FORWARD)
    model = graph("", "", "", "late", "late")
    assert [schedule.block(model, c) for c in range(3)] == [
        ("conv1",),
        ("conv2",),
        ("conv3", "conv4"),
    ]


def test_a_model_without_prunable_layers_is_refused():
    with pytest.raises(ScheduleError, match="'tiny' has no prunable layer"):
        PruningSchedule(1, 9).block(graph("stem"), 0)


@pytest.mark.parametrize(
    "settings",
    [
        {"interval": 0, "stop": 9},
        {"interval": 1, "stop": -1},
        {"interval": 1, "stop": 9, "fraction": 0.0},
        {"interval": 1, "stop": 9, "fraction": 0.6},
    ],
)
def test_settings_out_of_range_are_refused(settings):
    with pytest.raises(ScheduleError, match="must"):
        PruningSchedule(**settings)
