"""IDX files: small ones made here, and the real Fashion-MNIST where Debian's package is."""

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

from fedtiny.data import DataConfig, DataError
from fedtiny.data.idx import read_idx, read_idx_directory
from fedtiny.data.simulated import deal

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")


def idx(array):
    header = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def write_directory(folder, suffix="", **changes):
    generator = np.random.default_rng(0)
    content = {
        "train-images-idx3-ubyte": idx(generator.integers(0, 256, (200, 4, 5))),
        "train-labels-idx1-ubyte": idx(np.arange(200) % 4),
        "t10k-images-idx3-ubyte": idx(generator.integers(0, 256, (20, 4, 5))),
        "t10k-labels-idx1-ubyte": idx(np.arange(20) % 4),
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    for name, raw in content.items():
        (folder / (name + suffix)).write_bytes(gzip.compress(raw) if suffix else raw)
    return content


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_directory_is_read(tmp_path, suffix):
    content = write_directory(tmp_path, suffix)
    train, test = read_idx_directory(tmp_path, ())
    assert train.x.shape == (200, 1, 4, 5)
    assert train.x.tobytes() == content["train-images-idx3-ubyte"][16:]
    assert train.y.tolist() == [0, 1, 2, 3] * 50
    assert (len(test), test.labels) == (20, ("0", "1", "2", "3"))
    assert train.sensor.scale == (1 / 255,)


GOOD = idx(np.zeros((3, 2, 2)))


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (GOOD[:-1], "truncated: the header promises 12 bytes, 11 are there"),
        (GOOD[:7], "truncated: 7 bytes"),
        (b"", "truncated: 0 bytes"),
        (GOOD + b"x", "wrong count: the header promises 12 bytes, 13 are there"),
        (b"\x00\x00\x0d\x03" + GOOD[4:], "wrong magic 00 00 0d 03, expected 00 00 08 03"),
        (b"\x89PNG" + GOOD[4:], "wrong magic 89 50 4e 47"),
        (idx(np.zeros(12)) + bytes(8), "wrong magic 00 00 08 01"),
    ],
    ids=lambda value: value if isinstance(value, str) else f"{len(value)}B",
)
@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_bad_file_names_file_and_reason(tmp_path, raw, reason, suffix):
    path = tmp_path / f"images{suffix}"
    path.write_bytes(gzip.compress(raw) if suffix else raw)
    with pytest.raises(DataError, match=reason) as caught:
        read_idx(path, 3)
    assert str(caught.value).startswith(f"{path}: ")


def test_bad_gzip_streams(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(GOOD)[:-9])
    with pytest.raises(DataError, match=r"images\.gz: truncated: the gzip stream ends early"):
        read_idx(path, 3)
    path.write_bytes(GOOD)
    with pytest.raises(DataError, match=r"images\.gz: corrupt gzip"):
        read_idx(path, 3)


def test_images_and_labels_must_agree(tmp_path):
    write_directory(tmp_path, train_labels_idx1_ubyte=idx(np.zeros(199)))
    with pytest.raises(DataError, match=r"train-images.*wrong count: 200 images but 199 labels"):
        read_idx_directory(tmp_path, ())


def test_label_out_of_range(tmp_path):
    write_directory(tmp_path)
    with pytest.raises(DataError, match=r"train-labels.*label 3 in row 3, but there are 3 classes"):
        read_idx_directory(tmp_path, ("a", "b", "c"))


def test_missing_directory_names_the_package(tmp_path):
    with pytest.raises(DataError, match="apt install dataset-fashion-mnist"):
        read_idx_directory(tmp_path, ())


def test_federation_deals_every_training_image_once(tmp_path):
    write_directory(tmp_path, ".gz")
    config = DataConfig(source="idx", path=tmp_path, partitioner="shards", partitions=4)
    federation = deal(config, seed=3)
    views = [v for c in federation.clients for v in (c.train, c.development, c.test)]
    images = [image.tobytes() for v in (*views, federation.server.public) for image in v.x]
    expected = [image.tobytes() for image in read_idx_directory(tmp_path, ())[0].x]
    assert sorted(images) == sorted(expected)
    assert len(federation.server.unseen) == 20


@pytest.mark.skipif(not FASHION_MNIST.is_dir(), reason="needs apt install dataset-fashion-mnist")
def test_fashion_mnist():
    config = DataConfig(
        source="idx", path=FASHION_MNIST, partitioner="dirichlet", partitions=10, limit=6000
    )
    federation = deal(config, seed=0)
    assert federation.server.unseen.x.shape == (10_000, 1, 28, 28)
    assert np.bincount(federation.server.unseen.y).tolist() == [1000] * 10
    views = [v for c in federation.clients for v in (c.train, c.development, c.test)]
    assert sum(len(view) for view in views) == 6000
    pixels = np.concatenate([view.x.ravel() for view in views])
    # The published mean of the 60 000 training images is 0.2860 of full scale.
    assert pixels.mean() / 255 == pytest.approx(0.2860, abs=0.005)
