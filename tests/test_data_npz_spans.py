"""Samples of an npz file that say what they were cut from are never in two views."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.data import DataConfig, DataError
from fedtiny.data.client import split, split_recorded
from fedtiny.data.dataset import Dataset, SensorSpec
from fedtiny.data.npz import read_npz
from fedtiny.data.simulated import deal
from fedtiny.data.spans import Spans
from fedtiny.data.spool import look

COPIES = 4


def write(path, count=240, owners=4, **changes):
    """Every sample is its own number, so that one is known again wherever it is."""
    content = {
        "x": np.arange(count, dtype=np.int16).reshape(count, 1, 1, 1),
        "y": np.arange(count) // COPIES % 3,
        "owner": np.arange(count) * owners // count,
        "recording": np.arange(count) // COPIES,
    }
    content |= changes
    np.savez(path, **{name: value for name, value in content.items() if value is not None})
    return path


def recordings(*views):
    return [set((view.x.ravel() // COPIES).tolist()) for view in views]


def test_no_recording_is_in_two_views_nor_public_nor_unseen(tmp_path):
    path = write(tmp_path / "mine.npz")
    federation = deal(DataConfig(source="npz", path=path, partitions=3, unseen_people=(3,)), 0)
    views = [view for c in federation.clients for view in (c.train, c.development, c.test)]
    seen = recordings(*views, federation.server.public, federation.server.unseen)
    assert all(seen)
    assert sum(map(len, seen)) == len(set.union(*seen))


def test_unseen_samples_of_a_single_owner_share_no_recording_with_others(tmp_path):
    path = write(tmp_path / "mine.npz", owner=None)
    config = DataConfig(source="npz", path=path, partitions=2, partitioner="iid", min_samples=1)
    federation = deal(config, 0)
    trained = set.union(*recordings(*(client.train for client in federation.clients)))
    (unseen,) = recordings(federation.server.unseen)
    assert trained
    assert unseen
    assert not trained & unseen


def test_a_devices_own_files_keep_their_recordings_apart(tmp_path):
    folder = tmp_path / "own"
    folder.mkdir()
    write(folder / "a.npz", owner=None)
    write(folder / "b.npz", owner=None, recording=None)
    config = DataConfig(source="npz", path=folder, label_names=("a", "b", "c"))
    client = split_recorded(look(folder), config, 0, 0)
    assert min(len(view) for view in (client.train, client.development, client.test)) > 0
    write(folder / "b.npz", owner=None, length=np.array(2))
    with pytest.raises(DataError, match="unequal length"):
        split_recorded(look(folder), config, 0, 0)


@given(
    st.lists(st.integers(-3, 6), min_size=12, max_size=60),
    st.integers(1, 4),
    st.integers(0, 2**32),
)
def test_views_share_no_reading(recording, length, seed):
    count = len(recording)
    start = np.random.default_rng(seed).integers(0, 12, count)
    _, numbers = np.unique(recording, return_inverse=True)
    spans = Spans(numbers, start, length)
    x = np.arange(count, dtype=np.int16).reshape(count, 1, 1, 1)
    sensor = SensorSpec(("a",), ("1",), (1.0,))
    data = Dataset(x, np.arange(count) % 3, np.zeros(count, np.int64), ("a", "b", "c"), sensor)
    config = DataConfig(test_fraction=0.3, development_fraction=0.2)
    try:
        client = split(data, spans, None, config, seed, 0)
    except DataError:
        return  # everything overlaps with what is held out
    rows = [view.x.ravel() for view in (client.train, client.development, client.test)]
    readings = [
        {(numbers[k], start[k] + i) for k in view.tolist() for i in range(length)} for view in rows
    ]
    assert sum(map(len, readings)) == len(set.union(*readings))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"recording": None, "start": np.zeros(240, int)}, "start without recording"),
        ({"recording": None, "length": np.array(3)}, "length without recording"),
        ({"recording": np.zeros(239, int)}, r"recording is int64 of shape \(239,\)"),
        ({"recording": np.zeros(240)}, "recording is float64"),
        ({"recording": np.full(240, 2**63, np.uint64)}, "no integer of 64 bits"),
        ({"start": np.full(240, -1)}, "start is -1 in row 0, expected 0 to"),
        ({"start": np.full(240, 2**31)}, "start is 2147483648 in row 0"),
        ({"length": np.array(0)}, "length is 0 in row 0, expected 1 to"),
        ({"length": np.array([1, 2])}, "length is int64 of shape"),
    ],
)
def test_what_cannot_be_meant_is_refused(tmp_path, changes, why):
    with pytest.raises(DataError, match=why):
        read_npz(write(tmp_path / "mine.npz", **changes))


def test_any_numbers_name_recordings(tmp_path):
    names = np.array([2**62, -(2**62), 7])[np.arange(240) % 3]
    _, spans, _ = read_npz(write(tmp_path / "mine.npz", recording=names))
    assert spans.recording.tolist() == [(2, 0, 1)[k % 3] for k in range(240)]
    assert (spans.length, spans.start.max()) == (1, 0)
