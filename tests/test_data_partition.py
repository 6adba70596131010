"""Partitioners: equal to flwr-datasets' on a fixed vector, and always a disjoint cover."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.data import DataError
from fedtiny.data.partition import dirichlet, iid, in_proportion, natural, shards

GOLDEN = json.loads(
    (Path(__file__).parent / "goldens" / "data_partition.json").read_text(encoding="utf-8")
)
CASES = GOLDEN["cases"]
I = np.arange(4200)  # noqa: E741
LABELS = (I * I * 31 + I * 17) % 97 % 10


def of_kind(kind):
    return [case for case in CASES if case["partitioner"] == kind]


def class_counts(parts, y=LABELS):
    return [np.bincount(y[rows], minlength=10).tolist() for rows in parts]


@pytest.mark.parametrize("case", of_kind("dirichlet"), ids=lambda c: f"{c['alpha']}-{c['seed']}")
def test_dirichlet_gives_flwr_datasets_counts(case):
    """Both draw the proportions first, so one numpy stream gives one split, redraws included."""
    generator = np.random.default_rng(case["seed"])
    parts = dirichlet(LABELS, 10, case["alpha"], case["min_partition_size"], generator)
    assert class_counts(parts) == case["counts"]


@pytest.mark.parametrize("case", of_kind("shards"), ids=lambda c: c["num_shards_per_partition"])
def test_shards_give_flwr_datasets_counts(case):
    generator = np.random.default_rng(case["seed"])
    parts = shards(LABELS, 10, case["num_shards_per_partition"], generator)
    assert class_counts(parts) == case["counts"]


def test_iid_and_natural_give_flwr_datasets_sizes():
    (case,) = of_kind("iid")
    parts = iid(len(LABELS), 11, np.random.default_rng(0))
    assert [len(rows) for rows in parts] == [sum(counts) for counts in case["counts"]]
    (case,) = of_kind("natural")
    assert class_counts(natural(LABELS.astype(np.int32), 10)) == case["counts"]


def test_iid_mixes_the_order_of_the_file():
    first = iid(10_000, 2, np.random.default_rng(0))[0]
    assert np.count_nonzero(first < 5000) == pytest.approx(2500, abs=150)  # 6 sd of the draw


@settings(max_examples=60, deadline=None)
@given(
    y=st.lists(st.integers(0, 4), min_size=24, max_size=90),
    partitions=st.integers(1, 6),
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["dirichlet", "shards", "iid", "in_proportion"]),
)
def test_every_partition_is_a_disjoint_cover_and_repeatable(y, partitions, seed, kind):
    y = np.array(y)

    def deal():
        generator = np.random.default_rng(seed)
        match kind:
            case "dirichlet":
                return dirichlet(y, partitions, 5.0, 1, generator)
            case "shards":
                return shards(y, partitions, 2, generator)
            case "iid":
                return iid(len(y), partitions, generator)
            case _:
                held = [y[k::partitions] for k in range(partitions)]
                return in_proportion(y, held, generator)

    parts = deal()
    assert len(parts) == partitions
    assert np.sort(np.concatenate(parts)).tolist() == list(range(len(y)))
    assert all(np.array_equal(a, b) for a, b in zip(parts, deal(), strict=True))
    assert all((np.diff(rows) > 0).all() for rows in parts)


def test_dirichlet_alpha_orders_heterogeneity():
    def mean_classes_held(alpha):
        parts = dirichlet(LABELS, 10, alpha, 1, np.random.default_rng(0))
        counts = np.array(class_counts(parts))
        shares = counts / counts.sum(axis=1, keepdims=True)
        return (1 / (shares**2).sum(axis=1)).mean()  # effective number of classes

    assert mean_classes_held(0.1) < mean_classes_held(1) < mean_classes_held(100)
    assert mean_classes_held(100) > 8


def test_in_proportion_follows_what_clients_hold():
    held = [np.repeat([0, 1], [90, 10]), np.repeat([0, 1], [10, 40])]
    y = np.repeat([0, 1], [100, 100])
    dealt = in_proportion(y, held, np.random.default_rng(0))
    assert class_counts(dealt, y)[0][:2] == [90, 20]
    assert class_counts(dealt, y)[1][:2] == [10, 80]


@pytest.mark.parametrize(
    ("deal", "message"),
    [
        (lambda g: natural(np.array([1, 2, 3], np.int32), 2), "set partitions = 3"),
        (lambda g: dirichlet(LABELS, 10, 0.001, 300, g), "raise alpha"),
        (lambda g: dirichlet(LABELS[:50], 10, 0.5, 10, g), "at least 100"),
        (lambda g: shards(LABELS[:10], 10, 2, g), "at least 20"),
        (lambda g: iid(3, 4, g), "fewer partitions"),
    ],
)
def test_impossible_partitions_name_the_fix(deal, message):
    with pytest.raises(DataError, match=message):
        deal(np.random.default_rng(0))
