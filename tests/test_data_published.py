"""CIFAR, SVHN, CINIC-10 and CSV-MNIST: tiny files in their formats, written by other libraries."""

import builtins
import os
import pickle

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from fedtiny.config import parse
from fedtiny.data import DataConfig, DataError
from fedtiny.data.cifar import read_cifar10, read_cifar100
from fedtiny.data.cinic10 import read_cinic10
from fedtiny.data.csv_images import read_csv_directory
from fedtiny.data.simulated import deal
from fedtiny.data.svhn import read_svhn
from fedtiny.settings import ConfigError

READERS = {
    "cifar10": read_cifar10,
    "cifar100": read_cifar100,
    "svhn": read_svhn,
    "cinic10": read_cinic10,
    "csv": read_csv_directory,
}
FORMATS = [
    pytest.param("cifar10", {}, id="cifar10-binary"),
    pytest.param("cifar10", {"python": True}, id="cifar10-python"),
    pytest.param("cifar100", {}, id="cifar100-binary"),
    pytest.param("cifar100", {"python": True}, id="cifar100-python"),
    pytest.param("svhn", {}, id="svhn"),
    pytest.param("cinic10", {}, id="cinic10"),
    pytest.param("csv", {}, id="csv"),
    pytest.param("csv", {"header": True}, id="csv-header"),
]


@pytest.mark.parametrize(("source", "form"), FORMATS)
def test_every_image_and_label_comes_back(source, form, tmp_path, write_published):
    written = write_published(source, tmp_path, **form)
    for dataset, (x, y) in zip(READERS[source](tmp_path, ()), written, strict=True):
        assert dataset.x.dtype == np.uint8
        np.testing.assert_array_equal(dataset.x, x)
        np.testing.assert_array_equal(dataset.y, y)
        assert len(dataset.labels) == len(set(dataset.labels)) == y.max() + 1
        assert dataset.sensor.scale == (1 / 255,) * x.shape[1]
        assert not dataset.owner.any()


@pytest.mark.parametrize(("source", "form"), FORMATS)
def test_federation_deals_every_training_image_once(source, form, tmp_path, write_published):
    (x, _), (x_test, _) = write_published(source, tmp_path, per_class=8, **form)
    config = DataConfig(source=source, path=tmp_path, partitioner="iid", partitions=3)
    federation = deal(config, seed=1)
    views = [v for c in federation.clients for v in (c.train, c.development, c.test)]
    dealt = [image.tobytes() for v in (*views, federation.server.public) for image in v.x]
    assert sorted(dealt) == sorted(image.tobytes() for image in x)
    np.testing.assert_array_equal(federation.server.unseen.x, x_test)


@pytest.mark.parametrize("source", READERS)
def test_a_missing_file_is_named_with_its_home(source, tmp_path):
    with pytest.raises(DataError, match=r"no such file\. .*https?://.*set path to") as caught:
        READERS[source](tmp_path, ())
    assert str(caught.value).startswith(str(tmp_path))


@pytest.mark.parametrize("source", READERS)
def test_sources_without_owners_say_so(source, tmp_path):
    with pytest.raises(ConfigError, match=f"'{source}' has no owners: set partitioner"):
        parse({"data": {"source": source, "path": str(tmp_path)}})
    with pytest.raises(ConfigError, match="set path"):
        parse({"data": {"source": source, "partitioner": "iid"}})


@pytest.mark.parametrize("source", ["cifar10", "cifar100", "svhn", "cinic10"])
def test_label_names_must_be_as_many_as_classes(source, tmp_path, write_published):
    write_published(source, tmp_path)
    with pytest.raises(DataError, match=r"2 label_names for 10+ classes"):
        READERS[source](tmp_path, ("a", "b"))


@pytest.mark.parametrize(
    ("source", "form", "name"),
    [
        ("cifar10", {}, "data_batch_3.bin"),
        ("cifar10", {"python": True}, "data_batch_3"),
        ("cifar100", {"python": True}, "test"),
        ("svhn", {}, "train_32x32.mat"),
        ("cinic10", {}, "test/cat/00006.png"),
        ("csv", {}, "mnist_test.csv"),
    ],
)
@pytest.mark.parametrize("share", [0.0, 0.01, 0.49, 0.95])
def test_a_truncated_file_is_named(source, form, name, share, tmp_path, write_published):
    write_published(source, tmp_path, **form)
    path = tmp_path / name
    os.truncate(path, int(share * path.stat().st_size))
    with pytest.raises(DataError, match=rf"{name}: .*(truncated|no samples|has \d+ val)"):
        READERS[source](tmp_path, ())


@pytest.mark.parametrize(
    ("source", "form", "name"),
    [
        ("cifar10", {"python": True}, "data_batch_3"),
        ("svhn", {}, "train_32x32.mat"),
        ("cinic10", {}, "test/cat/00006.png"),
        ("csv", {}, "mnist_test.csv"),
    ],
)
def test_a_damaged_file_is_read_or_refused(source, form, name, tmp_path, write_published):
    """Whatever bytes are wrong, the only error is ours."""
    write_published(source, tmp_path, **form)
    path = tmp_path / name
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    refusals = []
    for _ in range(60):
        raw = bytearray(whole)
        for position in generator.integers(0, min(len(raw), 600), 3):
            raw[position] = generator.integers(0, 256)
        path.write_bytes(raw)
        try:
            READERS[source](tmp_path, ())
        except DataError as error:
            refusals.append(str(error))
    assert refusals
    assert all(text.startswith(str(path)) for text in refusals)


def test_labels_out_of_range(tmp_path, write_published):
    write_published("cifar10", tmp_path)
    path = tmp_path / "data_batch_2.bin"
    path.write_bytes(bytes(3073) + b"\x0a" + bytes(3072))
    with pytest.raises(DataError, match="label 10 in row 1, but there are 10 classes"):
        read_cifar10(tmp_path, ())
    savemat(tmp_path / "test_32x32.mat", {"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1], [0]]})
    savemat(tmp_path / "train_32x32.mat", {"X": np.zeros((32, 32, 3, 1), np.uint8), "y": [[1]]})
    with pytest.raises(DataError, match=r"test_32x32\.mat: label 0 in row 1, expected 1 to 10"):
        read_svhn(tmp_path, ())
    write_published("csv", tmp_path)
    with pytest.raises(DataError, match=r"train\.csv: label 9 in row \d+, but there are 9 classes"):
        read_csv_directory(tmp_path, tuple("abcdefghi"))


class Harmful:
    """Pickles as a call of os.system."""

    def __reduce__(self):
        return os.system, ("touch harmed",)


@pytest.mark.parametrize(
    ("batch", "reason"),
    [
        ({"data": Harmful(), "labels": []}, "it asks for posix.system, which no batch needs"),
        ([1, 2], "holds a list, expected a dictionary"),
        ({"data": np.zeros((1, 3072), np.uint8)}, "no entry labels; found data"),
        ({"data": np.zeros((1, 3072)), "labels": [0]}, "data is not an .* array of bytes"),
        ({"data": np.zeros((1, 300), np.uint8), "labels": [0]}, "has 300 columns, expected 3072"),
        ({"data": np.zeros((2, 3072), np.uint8), "labels": [0]}, "2 images but 1 labels"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": ["0"]}, "not a list of integers"),
        ({"data": np.zeros((1, 3072), np.uint8), "labels": [-1]}, "label -1 in row 0"),
    ],
    ids=lambda value: value[:20] if isinstance(value, str) else "",
)
def test_bad_pickles(batch, reason, tmp_path, write_published, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_published("cifar10", tmp_path, python=True)
    (tmp_path / "data_batch_1").write_bytes(pickle.dumps(batch, protocol=2))
    with pytest.raises(DataError, match=f"data_batch_1: .*{reason}"):
        read_cifar10(tmp_path, ())
    assert not (tmp_path / "harmed").exists()


def test_pickled_arrays_may_lie_column_by_column(tmp_path, write_published):
    write_published("cifar10", tmp_path, python=True)
    rows = np.arange(2 * 3072, dtype=np.uint8).reshape(2, 3072)
    batch = {"data": np.asfortranarray(rows), "labels": [3, 4]}
    (tmp_path / "test_batch").write_bytes(pickle.dumps(batch, protocol=2))
    _, test = read_cifar10(tmp_path, ())
    np.testing.assert_array_equal(test.x.reshape(2, 3072), rows)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ({"X": np.zeros((32, 32, 3, 2), np.uint8)}, "no variable y"),
        ({"X": np.zeros((2, 32, 32, 3), np.uint8), "y": [[1]]}, r"shape \(2, 32, 32, 3\)"),
        ({"X": np.zeros((32, 32, 3, 2)), "y": [[1], [2]]}, "float64"),
        ({"X": np.zeros((32, 32, 3, 2), np.uint8), "y": [[1]]}, "2 images but labels of shape"),
    ],
    ids=["no-labels", "order", "dtype", "count"],
)
def test_other_mat_files(content, reason, tmp_path):
    for name in ("train", "test"):
        savemat(tmp_path / f"{name}_32x32.mat", content)
    with pytest.raises(DataError, match=f"train_32x32.mat: .*{reason}"):
        read_svhn(tmp_path, ())


def test_cinic10_takes_grey_images_and_refuses_other_sizes(tmp_path, write_published):
    write_published("cinic10", tmp_path)
    path = tmp_path / "train/airplane/00000.png"
    grey = np.arange(1024, dtype=np.uint8).reshape(32, 32)
    Image.fromarray(grey).save(path)
    train, _ = read_cinic10(tmp_path, ())
    np.testing.assert_array_equal(train.x[0], np.stack([grey] * 3))
    Image.fromarray(grey[:16]).save(path)
    with pytest.raises(DataError, match=r"00000\.png: is 32×16 pixels, expected 32×32"):
        read_cinic10(tmp_path, ())
    for one in path.parent.iterdir():
        one.unlink()
    with pytest.raises(DataError, match="train/airplane: no PNG file in it"):
        read_cinic10(tmp_path, ())


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("1," + ",".join(["0"] * 783), "has 784 values, expected 785"),
        ("1," + ",".join(["256"] * 784), "not bytes in every row: .*256.* row 0"),
        ("1," + ",".join(["0.5"] * 784), "not bytes in every row: .*0.5.* row 0"),
        ("1," + ",".join(["-1"] * 784), "not bytes in every row: .*-1.* row 0"),
    ],
)
def test_csv_rows(row, reason, tmp_path, write_published):
    write_published("csv", tmp_path)
    (tmp_path / "mnist_test.csv").write_text(row + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=f"mnist_test.csv: .*{reason}"):
        read_csv_directory(tmp_path, ())


def test_csv_files_must_be_told_apart(tmp_path, write_published):
    write_published("csv", tmp_path)
    (tmp_path / "fashion-mnist_train.csv").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match=r"several files \*train\.csv .*; keep one"):
        read_csv_directory(tmp_path, ())


@pytest.mark.parametrize(("source", "package"), [("cinic10", "PIL")])
def test_a_missing_package_is_named_with_its_extra(
    source, package, tmp_path, write_published, monkeypatch
):
    write_published(source, tmp_path)
    real = builtins.__import__

    def refuse(name, *rest):
        if name.split(".")[0] == package:
            raise ModuleNotFoundError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(DataError, match=rf"source = '{source}' needs .*\[data\]"):
        READERS[source](tmp_path, ())
