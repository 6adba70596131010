"""Rounds of devices that hold different parts: by hand, and against the round of equals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from builders import SMALL, trained_state

from fedtiny.aggregation.combiner import Combine, Combiner
from fedtiny.aggregation.mean import merge_growth
from fedtiny.aggregation.parts import PartResult, average_parts, part_statistics
from fedtiny.clock.buffered import rebased, step_of
from fedtiny.config import parse
from fedtiny.data.statistics import Normalization
from fedtiny.federation.parts import Parts
from fedtiny.federation.round import Federation, begin, finish
from fedtiny.federation.state import CheckpointStore, ServerState
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.pruning.bn_selection import BnPooling
from fedtiny.sparse.tensor import Mask, SparseTensor
from fedtiny.tiers.block import block_of
from fedtiny.tiers.cut import cut, ranks_of
from fedtiny.tiers.tier import WHOLE, Tier
from fedtiny.wire.train import TrainResult

HALF, QUARTER = Tier(0.5, 1.0), Tier(0.25, 0.5)
CONFIG = {
    "pruning": {"method": "fedtiny", "density": 0.4, "interval": 1, "stop": 4, "fraction": 0.3},
    "federation": {"rounds": 4},
    "trust": {"update_factor": 0},
    "tiers": {"policy": "nested", "widths": [1.0, 0.5, 0.25]},
}


def model_of(density: float = 0.4, seed: int = 0) -> SparseModel:
    state = trained_state(SMALL, seed)
    draw = np.random.default_rng(seed)
    masks = {}
    for layer in SMALL.prunable_layers:
        size = int(np.prod(layer.weight_shape))
        kept = np.sort(draw.choice(size, int(density * size), replace=False))
        masks[layer.name] = Mask(layer.weight_shape, kept.astype(np.int32))
    return from_state(SMALL, state, masks)


def part(model: SparseModel, tier: Tier) -> SparseModel:
    return cut(model, block_of(SMALL, tier.width), tier.density, ranks_of(model))


def filled(model: SparseModel, value: float) -> SparseModel:
    """Every number of a model is ``value``."""
    weights = {
        name: SparseTensor(one.mask, np.full(one.nnz, value, np.float32))
        for name, one in model.weights.items()
    }
    dense = {name: np.full(array.shape, value, np.float32) for name, array in model.dense.items()}
    return SparseModel(weights, dense)


def test_every_coordinate_is_the_mean_of_those_who_hold_it() -> None:
    sent = model_of()
    whole = TrainResult(filled(sent, 1.0), 3, 0.0, {}, None)
    half = TrainResult(filled(part(sent, HALF), 5.0), 1, 0.0, {}, None)
    block = block_of(SMALL, 0.5)
    parts = [PartResult(block_of(SMALL, 1.0), whole), PartResult(block, half)]
    combined = average_parts(SMALL, sent, parts, Combiner())
    for name, weight in combined.weights.items():
        assert np.array_equal(weight.mask.indices, sent.weights[name].mask.indices)
        held = block.weight(name).covers(weight.mask.indices)
        assert held.any()
        assert (~held).any()
        assert np.array_equal(weight.values, np.where(held, np.float32(2), np.float32(1)))
    scale = combined.dense["body.bn.weight"]  # 8 channels, of which the half model has 4
    assert scale.tolist() == [2, 2, 2, 2, 1, 1, 1, 1]
    stem = combined.dense["stem.weight"]  # 6 channels: 3 of them
    assert np.array_equal(stem[:3], np.full((3, 2, 1, 3), 2, np.float32))
    assert np.array_equal(stem[3:], np.full((3, 2, 1, 3), 1, np.float32))
    assert combined.dense["classifier.bias"].tolist() == [2, 2, 2]


def test_what_nobody_held_keeps_its_value_and_is_not_made_zero() -> None:
    sent = model_of()
    half = TrainResult(filled(part(sent, HALF), 5.0), 1, 0.0, {}, None)
    block = block_of(SMALL, 0.5)
    combined = average_parts(SMALL, sent, [PartResult(block, half)], Combiner())
    for name, weight in combined.weights.items():
        held = block.weight(name).covers(weight.mask.indices)
        assert np.array_equal(weight.values[~held], sent.weights[name].values[~held])
        assert (weight.values[held] == 5).all()
    bias = combined.dense["tail.bn.bias"]
    assert np.array_equal(bias[4:], sent.dense["tail.bn.bias"][4:])


def test_a_robust_mean_is_taken_over_the_holders_of_a_weight_only() -> None:
    sent = model_of()
    block = block_of(SMALL, 0.5)
    parts = [PartResult(block_of(SMALL, 1.0), TrainResult(filled(sent, 1.0), 1, 0.0, {}, None))]
    for value in (5.0, 900.0):
        half = TrainResult(filled(part(sent, HALF), value), 1, 0.0, {}, None)
        parts.append(PartResult(block, half))
    combined = average_parts(SMALL, sent, parts, Combiner(Combine.MEDIAN))
    assert combined.dense["body.bn.weight"].tolist() == [5, 5, 5, 5, 1, 1, 1, 1]


def test_statistics_of_a_part_are_pooled_among_those_who_have_it() -> None:
    sent = model_of()
    block = block_of(SMALL, 0.5)
    parts = []
    for mean, count in ((0.0, 1), (4.0, 3)):
        one = filled(part(sent, HALF), 1.0)
        dense = {**one.dense, "body.bn.running_mean": np.full(4, mean, np.float32)}
        parts.append(
            PartResult(block, TrainResult(SparseModel(one.weights, dense), count, 0, {}, None))
        )
    found = part_statistics(SMALL, sent.dense, parts, BnPooling.POOLED, Combiner())
    assert found["body.bn.running_mean"][:4].tolist() == [3, 3, 3, 3]
    assert found["body.bn.running_var"][:4].tolist() == [4, 4, 4, 4]  # 1 within, 3 between
    assert np.array_equal(found["body.bn.running_mean"][4:], sent.dense["body.bn.running_mean"][4:])


def test_only_those_who_have_a_position_vote_on_it() -> None:
    reports = [
        (np.array([1, 6], np.int32), np.array([4, -8], np.float32)),
        (np.array([1], np.int32), np.array([2], np.float32)),
    ]
    covers = [lambda at: at >= 0, lambda at: at < 4]
    indices, values = merge_growth(reports, [1, 3], covers)
    assert indices.tolist() == [1, 6]
    assert values.tolist() == [2.5, -8.0]  # (1·4 + 3·2) / 4; the second has no position 6


def federation(policy: str = "nested") -> Federation:
    config = parse({**CONFIG, "tiers": {**CONFIG["tiers"], "policy": policy}})
    return Federation(
        SMALL, config.method, 4, 0, 0, config.trust, config.stopping, config.tier_policy
    )


def state_of(tiers: dict[int, Tier]) -> ServerState:
    model = model_of()
    scale = Normalization(np.zeros(2, np.float32), np.ones(2, np.float32))
    return ServerState(0, model, scale, {}, tiers=tiers, ranks=ranks_of(model))


def replies(whole: Federation, state: ServerState, round: int) -> dict[int, TrainResult]:
    """Devices that move every number by a hundredth of their index, and vote by position."""
    task, found = begin(whole, state, round), {}
    for k, one in task.tasks.items():
        moved = np.float32(0.01 * (k + 1))
        weights = {
            name: SparseTensor(weight.mask, weight.values + moved)
            for name, weight in one.model.weights.items()
        }
        dense = {name: array + moved for name, array in one.model.dense.items()}
        votes = {}
        for name, quota in one.quotas.items():
            absent = weights[name].mask.complement()[:quota]
            votes[name] = absent, (1.0 + absent).astype(np.float32)
        found[k] = TrainResult(SparseModel(weights, dense), k + 1, 1.0, votes, None)
    return found


def play(whole: Federation, state: ServerState, rounds: int) -> ServerState:
    for round in range(1, rounds + 1):
        task = begin(whole, state, round)
        state, _ = finish(whole, state, task, replies(whole, state, round))
    return state


def same(one: SparseModel, other: SparseModel) -> bool:
    return all(
        np.array_equal(one.weights[name].mask.indices, other.weights[name].mask.indices)
        and np.array_equal(one.weights[name].values, other.weights[name].values)
        for name in one.weights
    ) and all(np.array_equal(one.dense[name], other.dense[name]) for name in one.dense)


def test_devices_with_equal_budgets_make_the_model_of_a_run_without_tiers() -> None:
    unequal = play(federation(), state_of(dict.fromkeys(range(4), WHOLE)), 3)
    plain = replace(federation(), policy=None)
    assert same(unequal.model, play(plain, replace(state_of({}), ranks={}), 3).model)


def with_smaller_parts() -> Federation:
    config = parse({**CONFIG, "tiers": {**CONFIG["tiers"], "smaller_parts": True}})
    return replace(federation(), policy=config.tier_policy)


def test_equal_devices_draw_no_smaller_parts() -> None:
    state = state_of(dict.fromkeys(range(4), WHOLE))
    assert same(play(federation(), state, 3).model, play(with_smaller_parts(), state, 3).model)


def test_a_device_s_smaller_part_counts_as_that_part() -> None:
    whole, state = with_smaller_parts(), state_of({0: WHOLE, 1: HALF, 2: HALF, 3: WHOLE})
    round = next(r for r in (2, 3) if begin(whole, state, r).tiers != dict(state.tiers))
    task = begin(whole, state, round)
    (lent,) = (k for k in (0, 3) if task.tiers[k] == HALF)
    assert task.tasks[lent] is task.tasks[1]
    assert task.blocks[lent].width == 0.5
    after, _ = finish(whole, state, task, replies(whole, state, round))
    moved = after.statistics[HALF]["body.bn.running_mean"][:4]
    before = state.model.dense["body.bn.running_mean"][:4]
    holders = [k for k, tier in task.tiers.items() if tier == HALF]
    mean = sum((k + 1) * 0.01 * (k + 1) for k in holders) / sum(k + 1 for k in holders)
    assert np.allclose(moved - before, mean, atol=1e-6)


def test_parts_stay_as_large_as_they_were_while_masks_change() -> None:
    whole, tiers = federation(), {0: WHOLE, 1: HALF, 2: Tier(0.25, 1.0), 3: HALF}
    before = state_of(tiers)
    after = play(whole, before, 4)
    assert not same(before.model, after.model)
    changed = 0
    for tier in (WHOLE, HALF, Tier(0.25, 1.0)):
        held = [
            whole.parts(state).model(state.model, {}, ranks_of(state.model), tier, 1)
            for state in (before, after)
        ]
        for name in held[0].weights:
            assert held[0].weights[name].nnz == held[1].weights[name].nnz
            changed += not np.array_equal(
                held[0].weights[name].mask.indices, held[1].weights[name].mask.indices
            )
    assert changed


def test_a_thin_part_is_stable_between_adjustments() -> None:
    whole, state = federation(), state_of({0: WHOLE, 1: QUARTER, 2: QUARTER, 3: QUARTER})
    first = begin(whole, state, 5).tasks[1].model.masks  # after the last adjustment
    state, _ = finish(whole, state, begin(whole, state, 5), replies(whole, state, 5))
    second = begin(whole, state, 6).tasks[1].model.masks
    for name, mask in first.items():
        assert np.array_equal(mask.indices, second[name].indices)


def test_a_part_grows_with_the_rounds_where_the_config_says_so() -> None:
    config = parse({**CONFIG, "tiers": {**CONFIG["tiers"], "restore": {1: 0.25, 3: 1.0}}})
    state = state_of({0: WHOLE, 1: HALF})
    parts = Parts(SMALL, config.tier_policy, state.tiers)
    sizes = [
        parts.model(state.model, {}, state.ranks, Tier(0.5, 0.4), round).nnz for round in (1, 2, 3)
    ]
    assert sizes[0] == sizes[1] < sizes[2]


@pytest.mark.parametrize("policy", ["nested", "heterofl", "fedrolex", "density", "fiarse"])
def test_a_checkpoint_brings_tiers_back_to_the_bit(policy, tmp_path) -> None:
    tiers = {0: WHOLE, 1: Tier(0.5 if policy != "density" else 1.0, 0.2), 2: WHOLE, 3: WHOLE}
    whole = federation(policy)
    state = replace(play(whole, state_of(tiers), 2), shared=tiers[1])
    store = CheckpointStore(tmp_path, parse(CONFIG), SMALL)
    store.save(state)
    read = store.latest()
    assert read is not None
    assert dict(read.tiers) == tiers
    assert read.shared == tiers[1]
    for kind, own in state.statistics.items():
        assert all(np.array_equal(read.statistics[kind][name], own[name]) for name in own)
    onward, again = (
        finish(whole, one, begin(whole, one, 3), replies(whole, one, 3))[0] for one in (state, read)
    )
    assert same(onward.model, again.model)


def test_a_window_that_rolls_trains_every_channel_in_turn() -> None:
    whole = federation("fedrolex")
    state = state_of(dict.fromkeys(range(4), Tier(0.25, 1.0)))
    seen: set[int] = set()
    for round in range(1, 9):
        block = begin(whole, state, round).blocks[0]
        seen |= set(block.kept["body"].tolist())
        assert len(block.kept["body"]) == 2
    assert seen == set(range(8))


def test_a_device_that_comes_late_takes_the_largest_part_there_is_for_it() -> None:
    parts = Parts(SMALL, federation().policy, {0: WHOLE, 1: HALF, 2: QUARTER})
    late = {3: Tier(0.75, 1.0), 4: Tier(0.125, 1.0), 5: None, 0: QUARTER}
    assert parts.joined_by(late) == {3: HALF, 0: QUARTER}


def test_a_draw_of_devices_for_calibration_leaves_no_part_out() -> None:
    parts = Parts(SMALL, federation().policy, {0: WHOLE, 1: HALF, 2: HALF, 3: QUARTER})
    assert parts.with_every_kind([2]) == [0, 2, 3]
    assert parts.with_every_kind([0, 1, 3]) == [0, 1, 3]
    assert replace(parts, tiers={}).with_every_kind([2]) == [2]


def test_a_part_of_which_nobody_counts_is_named_with_how_many_were_asked() -> None:
    parts = Parts(SMALL, federation().policy, {0: WHOLE, 1: HALF, 2: HALF, 3: QUARTER})
    assert parts.missing(parts.tiers, {0, 2, 3}) == {}
    assert parts.missing(parts.tiers, [0]) == {HALF: 2, QUARTER: 1}
    assert parts.missing({0: WHOLE, 1: HALF}, [0]) == {HALF: 1}, "nobody of the others was asked"
    assert replace(parts, tiers={0: WHOLE, 1: WHOLE}).missing({0: WHOLE, 1: WHOLE}, []) == {}


def test_a_density_that_nobody_trained_has_the_statistics_of_the_global_model() -> None:
    state = state_of({0: HALF, 1: HALF})
    parts = Parts(SMALL, federation().policy, state.tiers)
    own = {HALF: {"body.bn.running_mean": np.full(8, 7, np.float32)}}
    thin = parts.model(state.model, own, state.ranks, Tier(0.5, 0.2), 1)
    assert thin.dense["body.bn.running_mean"].tolist() == [7, 7, 7, 7]


def test_steps_that_are_not_stale_make_the_model_of_a_round_with_parts() -> None:
    """FedBuff with parts: each step is added to the part that it was taken in."""
    whole, state = federation(), state_of({0: WHOLE, 1: HALF, 2: Tier(0.25, 1.0), 3: HALF})
    task, found = begin(whole, state, 1), replies(whole, state, 1)
    asked = {k: one.model for k, one in task.tasks.items()}
    found = {k: replace(one, found={}) for k, one in found.items()}
    steps = {k: step_of(SMALL, asked[k], one) for k, one in found.items()}
    moved = {k: rebased(SMALL, asked[k], one, 0, 1.0) for k, one in steps.items()}
    still = replace(task, quotas={})
    plain, _ = finish(whole, state, still, found)
    buffered, _ = finish(whole, state, still, moved)
    for name, array in plain.model.to_dense().items():
        np.testing.assert_allclose(buffered.model.to_dense()[name], array, atol=2e-6)
    stale = {k: rebased(SMALL, asked[k], one, 3, 1.0) for k, one in steps.items()}
    slower, _ = finish(whole, state, still, stale)
    for name, weight in slower.model.weights.items():
        full = plain.model.weights[name].values - state.model.weights[name].values
        half = weight.values - state.model.weights[name].values
        np.testing.assert_allclose(half, full / 2, atol=2e-6)
