"""Bring your own data: one npz file, and what is said when it is wrong."""

import numpy as np
import pytest

from fedtiny.data import DataConfig, DataError
from fedtiny.data.npz import read_npz
from fedtiny.data.simulated import deal
from fedtiny.data.sources import read_source


def arrays(count=60, channels=2, classes=3):
    generator = np.random.default_rng(0)
    return {
        "x": generator.integers(-500, 500, (count, channels, 1, 8)).astype(np.int16),
        "y": np.arange(count) % classes,
    }


def write(folder, **changes):
    content = {name: value for name, value in (arrays() | changes).items() if value is not None}
    path = folder / "mine.npz"
    np.savez(path, **content)
    return path


def test_every_array_is_read(tmp_path):
    path = write(
        tmp_path,
        owner=np.arange(60) // 10,
        labels=np.array(["sit", "walk", "run"]),
        channels=np.array(["ax", "ay"]),
        units=np.array(["g", "g"]),
        scale=np.array([0.5, 0.25]),
        x_test=np.ones((4, 2, 1, 8), np.int16),
        y_test=np.array([0, 1, 2, 0]),
    )
    data, _, test = read_npz(path)
    assert np.array_equal(data.x, arrays()["x"])
    assert data.x.dtype == np.int16
    assert data.y.tolist() == arrays()["y"].tolist()
    assert data.owner.tolist() == (np.arange(60) // 10).tolist()
    assert data.labels == ("sit", "walk", "run")
    assert (data.sensor.channels, data.sensor.units) == (("ax", "ay"), ("g", "g"))
    assert data.sensor.scale == (0.5, 0.25)
    assert test.y.tolist() == [0, 1, 2, 0]


def test_floats_become_counts_of_the_sensor(tmp_path):
    x = np.array([0.5, -0.26, 1.0, 2.0]).reshape(2, 2, 1, 1)
    path = write(tmp_path, x=x, y=np.array([0, 1]), scale=np.array([0.25, 0.5]))
    data, _, test = read_npz(path)
    assert data.x.ravel().tolist() == [2, -1, 4, 4]
    assert data.labels == ("0", "1")
    assert test is None


def nan_in_row_7():
    x = arrays()["x"].astype(np.float32)
    x[7, 1, 0, 3] = np.nan
    return x


X = arrays()["x"]
SCALE = np.ones(2)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"x": nan_in_row_7(), "scale": SCALE}, "x has 1 NaN or infinite values, first in row 7"),
        ({"x": X.astype(np.float32)}, "x is float: .* add scale"),
        ({"x": X.astype(np.float32) * 1e4, "scale": SCALE}, "beyond int16: raise scale"),
        ({"x": X.astype(np.int64) * 1000}, "beyond int16"),
        ({"x": X[:, 0]}, r"expected \(N, C, H, W\)"),
        ({"x": X.astype(complex)}, "has type complex128"),
        ({"y": None}, "no array named y; found x"),
        ({"y": np.arange(59) % 3}, "wrong count: 59 entries in y for 60 samples"),
        ({"y": np.arange(60) % 3 + 0.5}, "y is float64: 0.5 in row 0 is no integer"),
        ({"y": np.arange(60) % 3 - 1}, "y has label -1 in row 0"),
        ({"labels": np.array(["a", "b"])}, "y has label 2 in row 2, but there are 2 classes"),
        ({"owner": np.arange(59)}, "wrong count: 59 entries in owner"),
        ({"scale": np.array([1.0, 0.0])}, "scale must be positive"),
        ({"scale": np.ones(3)}, "scale has 3 entries for 2 channels"),
        ({"x_test": X[:5]}, "x_test without y_test"),
        ({"x_test": X[:5, :1], "y_test": np.zeros(5, int)}, "x_test has samples of shape"),
        ({"x": X[:0], "y": np.zeros(0, int)}, "no samples"),
        ({"y": np.array([0, None] * 30)}, "not an npz file of plain arrays"),
    ],
)
def test_bad_arrays_name_file_and_reason(tmp_path, changes, reason):
    path = write(tmp_path, **changes)
    with pytest.raises(DataError, match=reason) as caught:
        read_npz(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_every_truncation_is_caught(tmp_path):
    path = write(tmp_path)
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"mine\.npz: "):
            read_npz(path)


def test_flipped_byte_fails_the_checksum(tmp_path):
    path = write(tmp_path)
    content = bytearray(path.read_bytes())
    content[600] ^= 1  # inside x
    path.write_bytes(content)
    with pytest.raises(DataError, match="truncated or corrupt"):
        read_npz(path)


def test_missing_and_foreign_files(tmp_path):
    with pytest.raises(DataError, match=r"absent\.npz: no such file"):
        read_npz(tmp_path / "absent.npz")
    config = DataConfig(source="npz", path=tmp_path / "absent.npz")
    with pytest.raises(DataError, match=r"absent\.npz: no such file\. Set data\.path to"):
        read_source(config, 0)
    np.save(tmp_path / "single.npy", np.zeros(3))
    with pytest.raises(DataError, match=r"single\.npy: not an npz file"):
        read_npz(tmp_path / "single.npy")
    with pytest.raises(DataError, match="cannot be read"):
        read_npz(tmp_path)


def test_natural_federation_holds_out_the_last_two_owners(tmp_path):
    path = write(tmp_path, **arrays(count=180), owner=np.arange(180) // 30 + 100)
    federation = deal(DataConfig(source="npz", path=path, partitions=4), seed=0)
    assert [set(client.train.owner) for client in federation.clients] == [
        {100},
        {101},
        {102},
        {103},
    ]
    assert set(federation.server.unseen.owner) == {104, 105}
    assert len(federation.server.unseen) == 60


def test_without_owner_or_test_set_unseen_is_a_draw(tmp_path):
    path = write(tmp_path, **arrays(count=400))
    config = DataConfig(source="npz", path=path, partitions=4, partitioner="iid")
    federation = deal(config, seed=0)
    assert 70 < len(federation.server.unseen) < 130  # test_fraction = 0.25 of 400
    held = sum(len(v) for c in federation.clients for v in (c.train, c.development, c.test))
    assert held + len(federation.server.public) + len(federation.server.unseen) == 400


def test_scikit_learn_digits_as_npz(tmp_path):
    digits = pytest.importorskip("sklearn.datasets").load_digits()
    path = tmp_path / "digits.npz"
    np.savez(path, x=digits.images[:, None].astype(np.uint8), y=digits.target)
    config = DataConfig(
        source="npz", path=path, partitioner="dirichlet", partitions=5, min_samples=20
    )
    federation = deal(config, seed=1)
    assert federation.server.public.input_shape == (1, 8, 8)
    assert federation.server.public.x.dtype == np.uint8
    assert np.bincount(federation.server.public.y).tolist() == [5] * 10
