"""A device's own recordings: a file, or a spool that a sensor fills; read once, never dealt."""

import json
import logging
import os
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict

from clients.device import Device, device_of
from fedtiny.config import RunConfig, dump, parse
from fedtiny.data import DataConfig, DataError
from fedtiny.data.client import ClientData, split_recorded
from fedtiny.data.kept import Keeper
from fedtiny.data.partition import iid
from fedtiny.data.recordings import read_csv
from fedtiny.data.spool import is_recorded, look
from fedtiny.errors import FedTinyError

NAMES = ("walk", "run", "rest")
JOB = DataConfig(label_names=NAMES, window=16, stride=8)


def views(data: ClientData) -> tuple[int, int, int]:
    return len(data.train), len(data.development), len(data.test)


def recorded(path: Path, config: DataConfig = JOB, partition: int = 0) -> ClientData:
    return split_recorded(look(path), config, 0, partition)


def write_npz(path: Path, count: int = 240, **extra: object) -> Path:
    generator = np.random.default_rng(count)
    x = generator.integers(0, 250, (count, 2, 1, 8)).astype(np.int16)
    np.savez(path, **{"x": x, "y": np.arange(count) % 3, **extra})
    return path


def write_csv(path: Path, *stretches: tuple[str, int], seed: int = 0, channels: int = 3) -> Path:
    """Readings that tell where they were recorded: a counter in the first channel."""
    generator, rows = np.random.default_rng(seed), []
    for label, length in stretches:
        for _ in range(length):
            others = generator.integers(-900, 900, channels - 1)
            rows.append(",".join([label, str(len(rows)), *map(str, others)]))
    head = ",".join(["label", *"xyzuvw"[:channels]])
    path.write_text("\n".join([head, *rows, ""]), encoding="utf-8")
    return path


def context_of(
    tmp_path: Path, config: RunConfig, data: Path | str, partition: int | str = 0
) -> Context:
    (tmp_path / "job.toml").write_text(dump(config), encoding="utf-8")
    node = {"partition-id": partition, "data": str(data)}
    run = {"config": str(tmp_path / "job.toml"), "overrides": json.dumps([])}
    return Context(1, 1, node, RecordDict(), run)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Flower's folder of the node."""
    monkeypatch.setenv("FLWR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize("partitioner", ["iid", "dirichlet", "shards"])
def test_all_of_a_device_s_own_samples_are_its_own(
    tmp_path: Path, home: Path, partitioner: str
) -> None:
    """A partitioner deals one source to many; what one device recorded is not dealt again."""
    path = write_npz(tmp_path / "mine.npz", 100)
    source = {"source": "npz", "path": "everybody.npz", "partitions": 10}
    config = parse({"data": {**source, "partitioner": partitioner}})
    device = device_of(context_of(tmp_path, config, path, 7))
    assert sum(views(device.data)) == 100
    with np.load(path) as archive:
        samples = sorted(x.tobytes() for x in archive["x"])
    held = (device.data.train, device.data.development, device.data.test)
    assert sorted(x.tobytes() for view in held for x in view.x) == samples
    assert len(iid(100, 10, np.random.default_rng(0))[7]) == 10  # what dealing would leave of it


def test_own_samples_are_split_by_position(tmp_path: Path) -> None:
    path = write_npz(tmp_path / "mine.npz")
    assert views(recorded(path)) == (162, 18, 60)
    ours, again, other = recorded(path), recorded(path), recorded(path, partition=1)
    assert ours.train.x.tobytes() == again.train.x.tobytes() != other.train.x.tobytes()
    with np.load(path) as archive:
        x, y = archive["x"], archive["y"]
    tested = write_npz(tmp_path / "tested.npz", x_test=x[:30], y_test=y[:30])
    assert views(recorded(tested)) == (216, 24, 30)


@pytest.mark.parametrize(
    ("arrays", "reason"),
    [
        ({"x": np.zeros((2, 1, 1, 4), np.int16), "y": np.zeros(2, int)}, "client 0 has 2 samples"),
        ({"x": np.zeros((9, 1, 1, 4), np.int16)}, "no array named y"),
        ({"x": np.zeros((9, 1, 1, 4), np.int16), "y": np.zeros(8, int)}, "wrong count"),
        ({"x": np.full((9, 1, 1, 4), np.nan), "y": np.zeros(9, int), "scale": [1.0]}, "NaN"),
    ],
)
def test_an_npz_that_cannot_be_used_is_named(tmp_path: Path, arrays, reason: str) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(DataError, match=rf"mine\.npz: .*{reason}"):
        recorded(tmp_path / "mine.npz")


def test_windows_are_cut_where_the_label_changes(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ("walk", 40), ("run", 15), ("rest", 16), ("walk", 24))
    data = recorded(path)
    every = [view for view in (data.train, data.development, data.test) if len(view)]
    x, y = np.concatenate([v.x for v in every]), np.concatenate([v.y for v in every])
    assert x.shape[1:] == (3, 1, 16)
    assert every[0].labels == NAMES
    assert every[0].sensor.channels == ("x", "y", "z")
    possible = {0: 0, 8: 0, 16: 0, 24: 0, 55: 2, 71: 0, 79: 0}  # 15 readings of "run": no window
    starts = x[:, 0, 0, 0].tolist()
    assert {start: possible[start] for start in starts} == dict(
        zip(starts, y.tolist(), strict=True)
    )
    np.testing.assert_array_equal(x[:, 0, 0], x[:, 0, 0, :1] + np.arange(16))


def test_no_two_views_share_a_reading(tmp_path: Path) -> None:
    for k, label in enumerate(NAMES * 2):
        write_csv(tmp_path / f"{k}.csv", (label, 400), seed=k)
    data = recorded(tmp_path)
    seen = [
        {x.tobytes() for window in view.x for x in window[1:, 0].T}  # a reading, but its counter
        for view in (data.train, data.development, data.test)
    ]
    assert all(seen)
    assert not seen[0] & seen[1]
    assert not seen[0] & seen[2]
    assert not seen[1] & seen[2]


HEAD = "label,x,y\n"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("walk,1,2\n", "its header is 'walk,1,2'"),
        ("label;x;y\nwalk;1;2\n", "separated by semicolons"),
        ("label\nwalk\n", "one column label and the channels"),
        ("label,x,label\nwalk,1,run\n", "one column label"),
        (HEAD, "a header and no readings"),
        (HEAD + "walk,1,2\nwalkk,1,2\n", "'walkk' is none of walk, run, rest; did you mean walk?"),
        (HEAD + "walk,1,2\nwalk,1.5,2\n", "'1.5' .* at row 1, column 2., expected whole numbers"),
        (HEAD + "walk,1,2\nwalk,nan,2\n", "'nan'"),
        (HEAD + "walk,1,2\nwalk,1\n", "columns changed from 3 to 2"),
        (HEAD + "walk,1,2,3\n", "4 values a row, but the header has 3"),
        (HEAD + "walk,1,40000\n", "reading 1 lies beyond int16"),
        (HEAD + "walk,1," + "9" * 40 + "\n", "9999"),
        (HEAD + "walk,1,2\0\n", "."),
        (HEAD + "walk,,2\n", "expected whole numbers"),
        (HEAD + "walk,1,2\n", "no stretch of one label is 16 readings long"),
    ],
)
def test_a_recording_that_cannot_be_used_is_named(tmp_path: Path, text: str, reason: str) -> None:
    (tmp_path / "a.csv").write_text(text, encoding="utf-8")
    with pytest.raises(FedTinyError, match=rf"a\.csv.*{reason}"):
        recorded(tmp_path / "a.csv")


def test_damaged_recordings_raise_our_errors_only(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ("walk", 30), ("run", 30))
    whole, generator = path.read_bytes(), np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(whole)
        for at in generator.integers(len(whole), size=generator.integers(1, 6)):
            broken[at] = generator.integers(256)
        path.write_bytes(broken[: generator.integers(1, len(whole) + 1)])
        try:
            channels, counts, labels = read_csv(path, JOB)
        except FedTinyError:
            continue
        assert counts.shape == (len(labels), len(channels))
        assert set(labels.tolist()) <= {0, 1, 2}


def test_labels_are_names_or_numbers(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "a.csv", ("5", 3), ("7", 3))
    config = JOB.model_copy(update={"label_map": (5, 6, 7)})
    assert read_csv(path, config)[2].tolist() == [0, 0, 0, 2, 2, 2]
    with pytest.raises(DataError, match="label '5' is none of walk"):
        read_csv(path, JOB)
    with pytest.raises(DataError, match=r"data\.label_names"):
        recorded(path, DataConfig())


def test_a_spool_takes_what_is_finished_and_says_the_rest(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_csv(tmp_path / "b.csv", ("run", 40))
    write_csv(tmp_path / "a.csv", ("walk", 40), ("rest", 40))
    whole = (tmp_path / "a.csv").read_bytes()
    (tmp_path / "c.csv.part").write_bytes(whole[:100])  # being written
    (tmp_path / "d.csv").write_bytes(whole[:-1])  # by a program that does not rename
    (tmp_path / "e.csv").write_bytes(b"")
    (tmp_path / ".f.csv").write_bytes(whole)
    (tmp_path / "g.csv").mkdir()
    (tmp_path / "notes.txt").write_text("of the sensor", encoding="utf-8")
    with caplog.at_level(logging.WARNING, "fedtiny"):
        holding = look(tmp_path)
    assert [one.path.name for one in holding.files] == ["a.csv", "b.csv"]
    assert set(holding.set_aside) == {".f.csv", "c.csv.part", "d.csv", "e.csv", "notes.txt"}
    assert "5 file(s) set aside" in caplog.text
    assert "'c.csv.part'" in caplog.text
    (tmp_path / "c.csv").write_text("label,x,y,z\nwalk,1\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"c\.csv"):  # it claims to be whole: it is refused
        recorded(tmp_path)


def test_a_spool_of_npz_is_one_set(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", 60)
    write_npz(tmp_path / "b.npz", 90)
    (tmp_path / "c.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-40])
    assert sum(views(recorded(tmp_path))) == 150
    assert look(tmp_path).set_aside == ("c.npz",)
    write_npz(tmp_path / "d.npz", 60, x=np.zeros((60, 2, 1, 9), np.int16))
    with pytest.raises(DataError, match=r"d\.npz: samples \(2, 1, 9\) of int16, but a\.npz"):
        recorded(tmp_path)
    write_npz(tmp_path / "d.npz", 60, labels=["p", "q", "r"])
    with pytest.raises(DataError, match=r"d\.npz: other labels"):
        recorded(tmp_path, DataConfig())


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ([], "nothing is there"),
        (["a.csv.part", "b.tmp"], r"2 file\(s\) there are not finished"),
        (["a.csv", "b.npz"], "both"),
    ],
)
def test_a_spool_without_recordings_says_how_to_fill_it(tmp_path: Path, files, reason) -> None:
    for name in files:
        (tmp_path / name).write_bytes(b"label\n")
        if name.endswith(".npz"):
            write_npz(tmp_path / name)
    with pytest.raises(DataError, match=reason):
        look(tmp_path)


def test_what_was_dealt_is_no_recording(tmp_path: Path) -> None:
    assert is_recorded(write_npz(tmp_path / "mine.npz"))
    np.savez(tmp_path / "one.npz", x_train=np.zeros(1))
    for path in (tmp_path / "one.npz", tmp_path / "nothing.npz", tmp_path / "nowhere"):
        assert not is_recorded(path)
    (tmp_path / "spool").mkdir()
    assert is_recorded(tmp_path / "spool")
    for name in ("share-00003.npz", "server.npz"):
        folder = tmp_path / name[:5]
        folder.mkdir()
        (folder / name).write_bytes(b"")
        assert not is_recorded(folder)


def recording_device(tmp_path: Path, partition: int = 0) -> Device:
    config = parse({"data": {"label_names": NAMES, "window": 16, "stride": 8}})
    return device_of(context_of(tmp_path, config, tmp_path / "spool", partition))


def fill(tmp_path: Path, *names: str) -> None:
    (tmp_path / "spool").mkdir(exist_ok=True)
    for k, name in enumerate(names):
        write_csv(tmp_path / "spool" / f"{name}.csv", *((label, 64) for label in NAMES), seed=k)


def test_a_run_keeps_what_it_began_with(tmp_path: Path, home: Path) -> None:
    fill(tmp_path, "a", "b")
    device = recording_device(tmp_path)
    assert device.begin() == 0
    before = device.data
    (kept,) = home.glob("fedtiny/*.npz")
    written = kept.stat().st_mtime_ns
    assert kept.stat().st_mode & 0o077 == 0 or kept.parent.stat().st_mode & 0o077 == 0
    fill(tmp_path, "a", "b", "c")  # the sensor goes on,
    (tmp_path / "spool" / "a.csv").unlink()  # and tidies up
    (tmp_path / "spool" / "d.csv.part").write_text("label", encoding="utf-8")
    later = Device(**{name: getattr(device, name) for name in device.__dataclass_fields__})
    assert views(later.data) == views(before)  # as a process of its own would
    assert later.data.train.x.tobytes() == before.train.x.tobytes()
    assert kept.stat().st_mtime_ns == written
    assert later.begin() == 1  # the next run
    assert later.data.train.x.tobytes() != before.train.x.tobytes()


def test_equal_recordings_are_read_once(
    tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path, "a")
    device = recording_device(tmp_path)
    device.begin()
    read: list[Path] = []
    monkeypatch.setattr("fedtiny.data.kept.split_recorded", lambda *args: read.append(args[0].path))
    device.begin()
    assert not read
    os.utime(tmp_path / "spool" / "a.csv", ns=(0, 0))
    with pytest.raises(TypeError):  # it is read: the stand-in has nothing to give
        device.begin()
    assert read


def test_a_device_that_joins_later_begins_then(tmp_path: Path, home: Path) -> None:
    fill(tmp_path, "a", "b")
    assert sum(views(recording_device(tmp_path).data)) > 0


def test_shares_of_two_runs_are_kept(tmp_path: Path, home: Path) -> None:
    fill(tmp_path, "a")
    for job in ("one", "two", "three"):
        Keeper(tmp_path / "spool", home, job, JOB, 0, 4).make()
    other = Keeper(tmp_path / "spool", home, "one", JOB, 0, 5)
    other.make()
    assert {path.name[:3] for path in home.glob("*-share-00004.npz")} == {"two", "thr"}
    assert other.share.exists()


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    fill(tmp_path, "a")
    (tmp_path / "home").write_text("a file", encoding="utf-8")
    with pytest.raises(DataError, match=r"cannot be kept in .*home"):
        Keeper(tmp_path / "spool", tmp_path / "home" / "in", "job", JOB, 0, 0).make()


@pytest.mark.parametrize("given", ["three", "0", -1, 1.5])
def test_a_partition_that_is_none_is_named(tmp_path: Path, given: int | str) -> None:
    with pytest.raises(FedTinyError, match=r"partition-id is .*expected a whole number"):
        device_of(context_of(tmp_path, RunConfig(), tmp_path, given))
