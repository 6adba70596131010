"""Sums over clients: exact by hand, weighted right, order-fixed."""

import numpy as np
import pytest
from builders import sparse_model
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.aggregation.mean import AggregateError, merge_growth, weighted_mean
from fedtiny.aggregation.models import Votes, pooled_growth
from fedtiny.models import smartwatch_cnn
from fedtiny.sparse.tensor import Mask
from fedtiny.tiers.block import block_of
from fedtiny.wire.train import TrainResult

GRAPH = smartwatch_cnn((3, 1, 32), 4, width=8)


def f32(*values):
    return np.array(values, np.float32)


def i32(*values):
    return np.array(values, np.int32)


def test_weighted_mean_by_hand():
    result = weighted_mean([f32(1, -2), f32(3, 2), f32(8, 8)], [2, 1, 1])
    assert result.tolist() == [13 / 4, 6 / 4]
    assert result.dtype == np.float32


def test_weighted_mean_accumulates_in_float64():
    # In float32 the 1 would be lost beside 2²⁴.
    assert weighted_mean([f32(2**24), f32(1), f32(-(2**24))], [1, 1, 1]).tolist() == [
        np.float32(1 / 3)
    ]


def test_votes_that_agree_on_a_sign_weigh_more():
    # |D| = 8; index 2: 3 of 8 vote, all up; 7: 1 up, 4 down; 9: 1 + 3 up, 4 down.
    model = sparse_model(GRAPH)
    size = model.weights["conv3"].mask.size
    there = {2, 7, 9}
    mask = Mask(model.weights["conv3"].shape, i32(*(i for i in range(size) if i not in there)))
    votes = [({7: 8, 9: 12}, 1), ({2: 8, 9: 4}, 3), ({7: -4, 9: -2}, 4)]
    results = [
        TrainResult(model, n, 0.0, {"conv3": (i32(*sorted(g)), f32(*map(g.get, sorted(g))))}, None)
        for g, n in votes
    ]
    blocks = [block_of(GRAPH, 1.0)] * 3
    found = pooled_growth(results, blocks, {"conv3": mask}, Votes.AGREEMENT)
    indices, values = found["conv3"]
    assert indices.tolist() == [2, 7, 9]
    assert values.tolist() == [3.0 * 3 / 8, -1.0 * 3 / 8, 2.0 * 0]


@given(
    st.lists(
        st.tuples(st.lists(st.floats(-9, 9, width=32), min_size=3, max_size=3), st.integers(1, 99)),
        min_size=1,
        max_size=6,
    )
)
def test_weighted_mean_is_the_mean_of_the_repeated_replies(replies):
    arrays, weights = [f32(*values) for values, _ in replies], [count for _, count in replies]
    everyone = np.repeat(np.stack(arrays).astype(np.float64), weights, axis=0)
    np.testing.assert_allclose(
        weighted_mean(arrays, weights), everyone.mean(axis=0), rtol=1e-5, atol=1e-6
    )


def test_a_reply_with_weight_0_does_not_count():
    assert weighted_mean([f32(1), f32(100)], [5, 0]).tolist() == [1.0]


def test_merge_growth_by_hand():
    # |D| = 1 + 3 + 4; index 7: (1·8 + 4·(−4)) / 8 = −1, index 2: 3·8/8, index 9: cancels to 0.
    reports = [(i32(7, 9), f32(8, 12)), (i32(2, 9), f32(8, -4)), (i32(7), f32(-4))]
    indices, values = merge_growth(reports, [1, 3, 4])
    assert indices.tolist() == [2, 7, 9]
    assert values.tolist() == [3.0, -1.0, 0.0]
    assert (indices.dtype, values.dtype) == (np.int32, np.float32)


@given(
    st.lists(
        st.tuples(
            st.dictionaries(st.integers(0, 20), st.floats(-5, 5, width=32)), st.integers(1, 50)
        ),
        min_size=1,
        max_size=6,
    )
)
def test_merge_growth_is_the_mean_of_the_dense_gradients(replies):
    dense, reports = [], []
    for entries, _ in replies:
        indices = sorted(entries)
        reports.append((i32(*indices), f32(*(entries[i] for i in indices))))
        dense.append(np.zeros(21, np.float32))
        dense[-1][reports[-1][0]] = reports[-1][1]
    weights = [count for _, count in replies]
    indices, values = merge_growth(reports, weights)
    assert indices.tolist() == sorted({i for entries, _ in replies for i in entries})
    assert np.array_equal(values, weighted_mean(dense, weights)[indices])


@pytest.mark.parametrize(
    ("arrays", "weights", "message"),
    [
        ([], [], "no reply"),
        ([f32(1)], [1, 2], "1 replies but 2 weights"),
        ([f32(1), f32(1)], [0, 0], "not all 0"),
        ([f32(1), f32(1)], [2, -1], "not negative"),
        ([f32(1)], [float("nan")], "finite"),
        ([f32(1), f32(1, 2)], [1, 1], r"reply 1 has shape \(2,\)"),
        ([f32(1), f32(np.nan)], [1, 1], "reply 1 holds values that are not finite"),
    ],
)
def test_bad_replies_are_named(arrays, weights, message):
    with pytest.raises(AggregateError, match=message):
        weighted_mean(arrays, weights)


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ((i32(3, 3), f32(1, 1)), "reply 1: growth indices must ascend"),
        ((i32(3, 4), f32(1)), "reply 1: growth indices must ascend, one per value"),
        ((i32(3), f32(np.inf)), "reply 1 holds values"),
    ],
)
def test_bad_growth_is_named(report, message):
    with pytest.raises(AggregateError, match=message):
        merge_growth([(i32(), f32()), report], [1, 1])
