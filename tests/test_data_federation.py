"""Views of a federation: disjoint down to the reading, complete, and a function of the seed."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from fedtiny.data import DataConfig, DataError, Dataset
from fedtiny.data.simulated import deal
from fedtiny.data.spans import Spans
from fedtiny.data.watch.recordings import read_recordings


def test_default_federation_has_eight_people_and_two_unseen():
    federation = deal(DataConfig(), seed=0)
    views = [(c.train, c.development, c.test) for c in federation.clients]
    assert [{int(o) for view in three for o in view.owner} for three in views] == [
        {person} for person in range(1, 9)
    ]
    assert set(federation.server.unseen.owner.tolist()) == {9, 10}
    assert np.bincount(federation.server.public.y).tolist() == [5] * 7
    for train, development, test in views:
        assert set(train.y) == set(development.y) == set(test.y) == set(range(7))
        share = len(development) / (len(development) + len(train))
        assert share == pytest.approx(0.1, abs=0.02)


def readings(dataset):
    """The set of 6-axis readings in all windows, (N, 6, 1, W) -> {bytes of 6 counts}."""
    rows = np.ascontiguousarray(dataset.x[:, :, 0].transpose(0, 2, 1)).reshape(-1, 6)
    return set(map(bytes, rows))


def repeated_readings():
    """Readings whose six counts occur more than once; they cannot tell windows apart."""
    rows, counts = np.unique(read_recordings()["counts"], axis=0, return_counts=True)
    return set(map(bytes, rows[counts > 1]))


@pytest.mark.parametrize("partitioner", ["natural", "dirichlet"])
def test_no_reading_is_in_two_views_of_a_client(partitioner):
    repeated = repeated_readings()
    assert len(repeated) < 1000
    federation = deal(DataConfig(partitioner=partitioner), seed=0)
    public = readings(federation.server.public) - repeated
    unseen = readings(federation.server.unseen) - repeated
    all_tests = set().union(*(readings(c.test) for c in federation.clients)) - repeated
    for client in federation.clients:
        train = readings(client.train) - repeated
        development = readings(client.development) - repeated
        assert not train & development
        for fitted in (train, development, public):
            assert not fitted & all_tests
            assert not fitted & unseen
        assert not public & (train | development)


def test_test_windows_come_later_in_every_recording():
    federation = deal(DataConfig(), seed=0)
    recordings = read_recordings()
    counts, end = recordings["counts"], np.cumsum(recordings["length"])
    where = {bytes(reading): i for i, reading in enumerate(counts)}
    client = federation.clients[2]

    def fractions(view):
        rows = np.array([where[bytes(np.ascontiguousarray(x[:, 0, 0]))] for x in view.x])
        recording = np.searchsorted(end, rows, side="right")
        length = recordings["length"][recording]
        return (rows - (end[recording] - length)) / length

    assert fractions(client.train).max() < 0.75
    assert fractions(client.development).max() < 0.75
    assert fractions(client.test).min() >= 0.75


def identity(federation):
    views = [v for c in federation.clients for v in (c.train, c.development, c.test)]
    return [
        view.x.tobytes() for view in (*views, federation.server.public, federation.server.unseen)
    ]


def test_same_seed_same_data_other_seed_other_data():
    config = DataConfig(partitioner="dirichlet", partitions=5)
    first = identity(deal(config, seed=1))
    assert identity(deal(config, seed=1)) == first
    assert identity(deal(config, seed=2)) != first


def test_arrays_are_read_only_but_the_callers_are_not():
    train = deal(DataConfig(), 0).clients[0].train
    with pytest.raises(ValueError, match="read-only"):
        train.x[0] = 0
    mine = np.zeros((1, 6, 1, 128), np.int16)
    data = Dataset(mine, np.zeros(1, np.int64), np.zeros(1, np.int32), train.labels, train.sensor)
    mine[0] = 7  # the view is read-only, not the array it was made from
    assert data.x.max() == 7


def test_limit_caps_the_training_pool():
    config = DataConfig(partitioner="iid", partitions=4, limit=400)
    clients = deal(config, seed=0).clients
    assert 300 < sum(len(c.train) + len(c.development) for c in clients) <= 400


def test_unseen_people_are_chosen_by_id():
    config = DataConfig(unseen_people=(1, 4, 6), partitions=7)
    federation = deal(config, seed=0)
    assert set(federation.server.unseen.owner.tolist()) == {1, 4, 6}
    assert [int(c.train.owner[0]) for c in federation.clients] == [2, 3, 5, 7, 8, 9, 10]


def test_unseen_people_are_drawn_by_the_seed_for_all_methods_alike():
    config = DataConfig(unseen_count=3, partitions=7)
    drawn = [deal(config, seed).server.unseen.owner for seed in (0, 0, 1, 2)]
    people = [tuple(sorted(set(owner.tolist()))) for owner in drawn]
    assert people[0] == people[1]
    assert len(set(people)) == 3
    assert all(len(three) == 3 for three in people)
    trained = {int(c.train.owner[0]) for c in deal(config, 0).clients}
    assert trained == set(range(1, 11)) - set(people[0])


def test_label_names_replace_the_sources_own():
    names = tuple("abcdefg")
    federation = deal(DataConfig(label_names=names), seed=0)
    assert federation.clients[0].test.labels == federation.server.unseen.labels == names


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"partitions": 10}, "set partitions = 8"),
        ({"unseen_people": (11,)}, r"unseen_people \[11\] are not in the data"),
        ({"unseen_people": tuple(range(1, 11))}, "keep at least one"),
        ({"unseen_people": ()}, "leave out at least one"),
        ({"unseen_count": 10}, "unseen_count = 10 must keep at least one"),
        ({"public_per_class": 5000}, "public_per_class asks for 5000"),
        ({"label_names": ("a",)}, "1 label_names for 7 classes"),
        ({"partitioner": "iid", "partitions": 1500}, "too few for train"),
    ],
)
def test_impossible_settings_name_the_fix(settings, message):
    with pytest.raises(DataError, match=message):
        deal(DataConfig(**settings), seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"source": "idx"}, "set path"),
        ({"path": "x"}, "remove path"),
        ({"source": "idx", "path": "x"}, "no owners"),
        ({"unseen_count": 2, "unseen_people": (1,)}, "remove one"),
        (
            {"source": "idx", "path": "x", "partitioner": "iid", "unseen_count": 2},
            "remove unseen_people and unseen_count",
        ),
        (
            {"source": "idx", "path": "x", "partitioner": "iid", "unseen_people": (1,)},
            "remove unseen_people and unseen_count",
        ),
        ({"windows": 3}, "windows"),
        ({"public_per_class": 4}, "public_per_class"),
        ({"test_fraction": 1.0}, "test_fraction"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        DataConfig(**settings)


def test_every_setting_is_documented():
    assert all(field.description for field in DataConfig.model_fields.values())


@given(
    windows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40)), min_size=1, max_size=25),
    length=st.integers(1, 12),
    data=st.data(),
)
def test_touching_agrees_with_sets_of_readings(windows, length, data):
    recording, start = (np.array(column, np.int64) for column in zip(*windows, strict=True))
    chosen = data.draw(st.lists(st.integers(0, len(windows) - 1), unique=True))
    covered = {(windows[i][0], windows[i][1] + t) for i in chosen for t in range(length)}
    expected = [any((r, s + t) in covered for t in range(length)) for r, s in windows]
    touching = Spans(recording, start, length).touching(np.array(chosen, np.int64))
    assert touching.tolist() == expected
