"""A reader keeps what a file says, or refuses it: widths, signs, gaps, depths, orders and names."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fedtiny.config import parse
from fedtiny.data import DataConfig, DataError, Dataset, SensorSpec
from fedtiny.data.cifar import CIFAR10_LABELS
from fedtiny.data.cinic10 import read_cinic10
from fedtiny.data.client import split_recorded
from fedtiny.data.labels import LabelMap
from fedtiny.data.npz import read_npz
from fedtiny.data.simulated import deal
from fedtiny.data.sources import read_source
from fedtiny.data.spool import look
from fedtiny.settings import ConfigError

COUNT = 60
X = np.random.default_rng(0).integers(-500, 500, (COUNT, 2, 1, 8)).astype(np.int16)
Y = np.arange(COUNT) % 3


def write(folder: Path, **changes: object) -> Path:
    path = folder / "mine.npz"
    arrays = {"x": X, "y": Y, **changes}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


KEPT: dict[str, Any] = {
    "int8": Y.astype(np.int8),
    "uint8": Y.astype(np.uint8),
    "uint16": Y.astype(np.uint16),
    "int64": Y.astype(np.int64),
    "uint64": Y.astype(np.uint64),
    "big-endian": Y.astype(">i8"),
    "float32": Y.astype(np.float32),
    "float64, big-endian": Y.astype(">f8"),
    "bool": Y > 0,
    "every second one": np.repeat(Y, 2)[::2],
}


@pytest.mark.parametrize("y", KEPT.values(), ids=KEPT)
def test_labels_of_every_width_are_kept(y: np.ndarray, tmp_path: Path) -> None:
    data, _, _ = read_npz(write(tmp_path, y=y))
    assert data.y.tolist() == y.astype(int).tolist()
    assert data.y.dtype == np.int64


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (Y - 1, r"y has label -1 in row 0, .* set data\.label_offset = -1"),
        (Y + 0.5, "0.5 in row 0 is no integer"),
        (np.where(Y == 1, np.nan, Y), "nan in row 1"),
        (np.where(Y == 1, np.inf, Y), "inf in row 1"),
        (np.where(Y == 1, 2**63, Y).astype(np.uint64), f"{2**63} in row 1"),
        (np.where(Y == 1, 2.0**60, Y), "in row 1 is no integer"),
        (np.where(Y == 1, 2**60, Y), "no class"),
        (np.where(Y == 1, 70_000, Y), "at most 65,536 classes"),
        (np.array(["a", "b", "c"] * 20), "number what has names"),
        (Y.astype(complex), "y is complex128"),
        (Y[:, None], r"y has shape \(60, 1\)"),
        (np.array([0, None, 1] * 20), "holds Python objects"),
    ],
)
def test_labels_that_are_none_are_refused(y: np.ndarray, words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=rf"mine\.npz: .*{words}"):
        read_npz(write(tmp_path, y=y))


IDS = [0, 2**31, 2**31 + 1, 2**32, 2**52, 2**53 - 1]


@pytest.mark.parametrize("dtype", [np.int64, np.uint64, np.float64, ">i8"])
def test_ids_wider_than_32_bits_are_kept_apart(dtype: type | str, tmp_path: Path) -> None:
    owner = np.repeat(IDS, 10)
    path = write(tmp_path, owner=owner.astype(dtype), x_test=X[:6], y_test=Y[:6],
                 owner_test=np.array(IDS).astype(dtype))  # fmt: skip
    data, _, test = read_npz(path)
    assert data.owner.tolist() == owner.tolist()
    assert test is not None
    assert test.owner.tolist() == IDS
    people = DataConfig(source="npz", path=write(tmp_path, owner=owner), partitions=4)
    federation = deal(people, seed=0)
    assert set(federation.server.unseen.owner.tolist()) == set(IDS[-2:])


@pytest.mark.parametrize("key", ["owner", "owner_test"])
@pytest.mark.parametrize("bad", [-1, 2**53, 2**62, 0.5, np.nan])
def test_ids_that_no_report_could_show_are_refused(key: str, bad: float, tmp_path: Path) -> None:
    ids = np.where(np.arange(COUNT) == 3, bad, np.arange(COUNT))
    ids = ids.astype(np.int64) if isinstance(bad, int) else ids
    path = write(tmp_path, x_test=X, y_test=Y, **{key: ids})
    with pytest.raises(DataError, match=rf"mine\.npz: {key} is .*row 3"):
        read_npz(path)


@pytest.mark.parametrize("dtype", ["<i2", ">i2", "i1", "<i4", ">i8", "u2", ">u4"])
def test_counts_of_every_type_and_order_are_kept(dtype: str, tmp_path: Path) -> None:
    x = np.abs(X) % 100
    for order in (np.ascontiguousarray, np.asfortranarray, lambda a: np.repeat(a, 2, 0)[::2]):
        data, _, _ = read_npz(write(tmp_path, x=order(x).astype(dtype)))
        assert np.array_equal(data.x, x)
        assert data.x.dtype == np.int16
        assert data.x.flags.c_contiguous


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"x": X.astype(np.int32) + 40_000}, "beyond int16"),
        ({"x": X.view(np.uint16) | 0x8000}, "beyond int16"),
        ({"x": X[:, :0]}, "have no values"),
        ({"x": X[:, :, :, :0]}, "have no values"),
        ({"x": X[:0], "y": Y[:0]}, "no samples"),
        ({"x_test": X[:0], "y_test": Y[:0]}, "x_test has no samples"),
        ({"y_test": Y}, "y_test without x_test"),
        ({"owner_test": Y}, "owner_test without x_test"),
        ({"x_test": X * 1.0, "y_test": Y}, "x_test is float"),
        ({"x": X > 0}, "x has type bool"),
        ({"labels": np.array([b"\xe4", b"b", b"c"])}, "not UTF-8"),
        ({"labels": np.array([["a"], ["b"], ["c"]])}, "expected a row of names"),
        ({"labels": np.array([0.5, 1, 2])}, "expected a row of names"),
        ({"labels": np.array(["a", None, "c"])}, "holds Python objects"),
        ({"labels": np.array(["a", "b", "a"])}, "classes 0 and 2 are both called 'a'"),
        ({"labels": np.array(["a", "b\n", "c"])}, r"the name of class 1 'b\\n'"),
        ({"labels": np.array(["a", "\udce9", "c"])}, "the name of class 1"),
        ({"channels": np.array(["ax", "\x1b[1m"])}, "a channel's name"),
        ({"units": np.array(["g", ""])}, "a channel's unit"),
        ({"scale": np.array([1, np.nan])}, "scale must be positive and finite"),
    ],
)
def test_what_would_be_lost_or_not_shown_is_refused(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=rf"mine\.npz: .*{words}"):
        read_npz(write(tmp_path, **changes))


@pytest.mark.parametrize("kind", ["S", "U", ">U9"])
def test_names_of_either_string_type_are_text(kind: str, tmp_path: Path) -> None:
    names = ["gehen", "läuft", "走る"]
    given = np.array([n.encode() for n in names]) if kind == "S" else np.array(names, dtype=kind)
    data, _, _ = read_npz(write(tmp_path, labels=given, channels=given[:2], units=given[1:]))
    assert data.labels == tuple(names)
    assert data.sensor == SensorSpec(tuple(names[:2]), tuple(names[1:]), (1.0, 1.0))


GAPS = {
    "from one": (Y + 1, ["data.label_offset = 1", "data.label_map = [1, 2, 3]"]),
    "a gap": (np.array([0, 1, 3])[Y], ["no sample has the label 2", "data.label_map = [0, 1, 3]"]),
    "far up": (Y + 1000, ["data.label_offset = 1000"]),
    "signs": (np.array([0, 8, 10])[Y], ["no sample has the label 1, 2,", "[0, 8, 10]"]),
}


@pytest.mark.parametrize(("y", "words"), GAPS.values(), ids=GAPS)
def test_gaps_are_named_and_the_advice_works(
    y: np.ndarray, words: list[str], tmp_path: Path
) -> None:
    path = write(tmp_path, y=y)
    data = {"source": "npz", "path": str(path), "partitioner": "iid", "partitions": 2}
    with pytest.raises(DataError) as caught:
        read_source(parse({"data": data}).data, 0)
    assert all(word in str(caught.value) for word in words)
    tables = [{"label_map": np.unique(y).tolist()}]
    if "offset" in str(caught.value):
        tables.append({"label_offset": int(y.min())})
    for table in tables:
        source = read_source(parse({"data": {**data, **table}}).data, 0)
        assert source.pool.labels == tuple(map(str, np.unique(y).tolist()))
        named = {**data, **table, "label_names": ["a", "b", "c"]}
        source = read_source(parse({"data": named}).data, 0)
        assert source.pool.labels == ("a", "b", "c")


def test_a_device_maps_its_own_labels(tmp_path: Path) -> None:
    path = write(tmp_path, y=np.array([4, 7, 9])[Y])
    config = DataConfig(source="npz", path=path, label_map=(9, 4, 7, 1), label_names=tuple("abcd"))
    found = split_recorded(look(path), config, 0, 0)
    assert set(found.train.y.tolist()) == {0, 1, 2}


def idx(folder: Path, labels: list[int]) -> None:
    for part in ("train", "t10k"):
        count = len(labels).to_bytes(4, "big")
        side = (2).to_bytes(4, "big")
        images = bytes([0, 0, 8, 3]) + count + side * 2 + bytes(4 * len(labels))
        (folder / f"{part}-images-idx3-ubyte").write_bytes(images)
        raw = bytes([0, 0, 8, 1]) + count + bytes(labels)
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(raw))


def test_published_files_are_mapped_too(tmp_path: Path) -> None:
    idx(tmp_path, [1, 2, 4] * 10)
    config = DataConfig(source="idx", path=tmp_path, partitioner="iid", partitions=2)
    with pytest.raises(DataError, match=r"label 0, 3, .*data\.label_map = \[1, 2, 4\]"):
        read_source(config, 0)
    mapped = config.model_copy(update={"label_map": (1, 2, 4)})
    source = read_source(mapped, 0)
    assert source.pool.labels == source.unseen.labels == ("1", "2", "4")
    assert source.unseen.y.tolist() == [0, 1, 2] * 10
    with pytest.raises(DataError, match=r"has label 4 in row 2, which data\.label_map lacks"):
        read_source(config.model_copy(update={"label_map": (1, 2)}), 0)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"source": "npz", "path": "a", "label_offset": 1, "label_map": [1]}, "remove one"),
        ({"source": "npz", "path": "a", "label_map": [1, 1]}, "label_map has a label twice"),
        ({"source": "npz", "path": "a", "label_map": [1], "label_names": ["a", "b"]}, "1 classes"),
        ({"source": "watch", "label_offset": 1}, "labels of its own"),
        ({"source": "npz", "path": "a", "label_offset": 2**53}, "label_offset"),
    ],
)
def test_maps_that_make_no_sense(data: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        parse({"data": data})


def test_classes_that_share_a_name_are_named_whatever_the_source() -> None:
    with pytest.raises(DataError, match="classes 0 and 1 are both called 'a'"):
        read_source(DataConfig(label_names=("a", "a", "b", "c", "d", "e", "f")), 0)
    with pytest.raises(DataError, match="both called"):
        Dataset(X, Y, Y, ("a", "b", "a"), SensorSpec(("x", "y"), ("1", "1"), (1.0, 1.0)))


@pytest.mark.parametrize("low", [-(2**53) + 1, -5, 0, 7, 2**53 - 10])
def test_offsets_and_maps_agree(low: int) -> None:
    labels = np.array([low, low + 2, low + 1])
    by_value = LabelMap(values=(low, low + 1, low + 2))
    for one in (LabelMap(offset=low), by_value):
        assert one.classes(Path("a"), "y", labels).tolist() == [0, 2, 1]
        assert [one.label_of(k) for k in range(3)] == [low, low + 1, low + 2]


RAMP = np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))


def picture(mode: str) -> Image.Image:
    grey = Image.fromarray(RAMP)
    match mode:
        case "I;16":
            return Image.fromarray(RAMP.astype(np.uint16) * 257)
        case "P":
            return grey.convert("P")
        case "RGBA opaque":
            return grey.convert("RGBA")
    return grey.convert(mode)


def cinic(folder: Path, save: Callable[[Path], object]) -> Path:
    for part in ("train", "test"):
        for name in CIFAR10_LABELS:
            home = folder / part / name
            home.mkdir(parents=True, exist_ok=True)
            save(home)
    return folder


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA opaque", "P", "I;16"])
def test_pictures_of_every_depth_keep_their_levels(mode: str, tmp_path: Path) -> None:
    cinic(tmp_path, lambda home: picture(mode).save(home / "a.PNG"))
    train, test = read_cinic10(tmp_path, ())
    assert len(train) == len(test) == 10
    np.testing.assert_array_equal(train.x[0], np.stack([RAMP] * 3))


def test_pictures_of_one_bit_are_black_and_white(tmp_path: Path) -> None:
    whole = Image.fromarray(RAMP >= 128)
    cinic(tmp_path, lambda home: whole.save(home / "a.png"))
    assert set(np.unique(read_cinic10(tmp_path, ())[0].x)) == {0, 255}


def transparent(home: Path) -> None:
    whole = Image.fromarray(RAMP).convert("RGBA")
    whole.putalpha(100)
    whole.save(home / "a.png")


@pytest.mark.parametrize(
    ("save", "words"),
    [
        (transparent, "transparent pixels"),
        (lambda home: Image.fromarray(RAMP).save(home / "a.png", transparency=8), "transparent"),
        (lambda home: Image.fromarray(RAMP).convert("CMYK").save(home / "a.jpg"), "no PNG file"),
        (lambda home: Image.fromarray(RAMP).save(home / "a.BMP"), "no PNG file"),
        (lambda home: Image.fromarray(RAMP[:31]).save(home / "a.png"), "32×31 pixels"),
    ],
)
def test_pictures_that_would_lose_something_are_refused(
    save: Callable[[Path], object], words: str, tmp_path: Path
) -> None:
    cinic(tmp_path, save)
    with pytest.raises(DataError, match=rf"a\.\w+: .*{words}"):
        read_cinic10(tmp_path, ())


def test_hidden_files_are_left_out_and_that_is_said_once(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def save(home: Path) -> None:
        Image.fromarray(RAMP).save(home / "a.png")
        (home / "._a.png").write_bytes(b"\0\5\x16\7" + bytes(82))

    cinic(tmp_path, save)
    for _ in range(2):
        assert len(read_cinic10(tmp_path, ())[0]) == 10
    said = capfd.readouterr().err.splitlines()
    assert len(said) == 1
    assert "train/airplane/._a.png" in said[0]
