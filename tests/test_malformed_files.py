"""Every reader, 20,000 damaged files each: a result, or our own error that names the file."""

from __future__ import annotations

import csv
import gzip
import io
import pickle
import zipfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from builders import sparse_model
from mutations import (
    BYTES,
    CSV_TOKENS,
    INPUTS,
    JSON_TOKENS,
    TOML_TOKENS,
    fuzz,
    mutations,
    reader,
)
from PIL import Image
from safetensors.numpy import save
from scipy.io import savemat

from fedtiny import config
from fedtiny.config import RunConfig
from fedtiny.data import DataConfig, Normalization, SensorSpec, cifar, cinic10, svhn
from fedtiny.data.cifar_pickle import read_batch
from fedtiny.data.client import load_client
from fedtiny.data.csv_images import read_csv_directory
from fedtiny.data.idx import read_idx
from fedtiny.data.npz import read_npz
from fedtiny.data.watch.recordings import read_recordings
from fedtiny.devices import catalog
from fedtiny.federation import state
from fedtiny.federation.state import CheckpointStore
from fedtiny.importing.tflite_source import read_tflite
from fedtiny.models.graph import INPUT, Conv, Graph, Linear, Pool
from fedtiny.report import rows as csv_rows
from fedtiny.report.study import StudyRow
from fedtiny.runs import metrics
from fedtiny.runs.trained_model import TrainedModel, model_arrays
from sims.study import plan


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """In memory, where there is such a place: most of the time would go into opening files."""
    memory = Path("/dev/shm")
    with TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


def zipped(arrays: dict[str, np.ndarray]) -> dict[str, bytes]:
    members = {}
    for name, array in arrays.items():
        content = io.BytesIO()
        np.lib.format.write_array(content, np.asanyarray(array), allow_pickle=True)
        members[f"{name}.npy"] = content.getvalue()
    return members


def archive(members: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", method) as file:
        for name, raw in members.items():
            file.writestr(name, raw)
    return content.getvalue()


def damaged_archives(arrays: dict[str, np.ndarray], seed: int) -> Iterator[bytes]:
    """Half of them damaged outside, where a checksum tells; half inside, where none does."""
    members = zipped(arrays)
    yield from mutations(archive(members), seed, count=INPUTS // 4)
    yield from mutations(archive(members, zipfile.ZIP_DEFLATED), seed + 1, count=INPUTS // 4)
    names = list(members)
    for k, name in enumerate(names):
        count = -(-INPUTS // 2 // len(names))
        # the header is where most can go wrong: 128 bytes of it before the numbers
        for raw in mutations(
            members[name], seed + 2 + k, (*BYTES, b"'|O'", b"'<f8'", b"-1", b"'<U9'"), count
        ):
            yield archive({**members, name: raw})


MINE = {
    "x": np.arange(48, dtype=np.int16).reshape(6, 2, 1, 4),
    "y": np.arange(6) % 2,
    "owner": np.arange(6) // 2,
    "recording": np.arange(6) // 2,
    "start": np.arange(6) % 2 * 8,
    "length": np.array(4),
    "labels": np.array(["a", "b"]),
    "scale": np.array([0.5, 0.25]),
    "units": np.array([b"g", b"g"]),
}


def test_npz(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    assert fuzz(reader(path, read_npz), damaged_archives(MINE, 0), "mine.npz") > INPUTS // 4


RECORDINGS = {
    "counts": np.arange(24, dtype=np.int16).reshape(12, 2),
    "length": np.array([5, 7]),
    "label": np.array([0, 1]),
    "person": np.array([3, 4]),
    "labels": np.array(["a", "b"]),
    "channels": np.array(["ax", "ay"]),
    "units": np.array(["g", "g"]),
    "scale": np.array([0.5, 0.25]),
}


def test_recordings(tmp_path: Path) -> None:
    path = tmp_path / "watch.npz"
    assert fuzz(reader(path, read_recordings), damaged_archives(RECORDINGS, 10), "watch.npz")


def test_shares(tmp_path: Path) -> None:
    path = tmp_path / "share-00000.npz"
    parts = {}
    for view in ("train", "development", "test"):
        parts |= {f"{name}_{view}": MINE[name][:2] for name in ("x", "y", "owner")}
    described = {"labels": MINE["labels"], "origin": np.array(["partition 0", "a", "b"])}
    loaded = reader(path, lambda path: load_client(path, DataConfig(), 0, 0))
    assert fuzz(loaded, damaged_archives(parts | described, 20), "share-00000.npz")


def test_csv(tmp_path: Path) -> None:
    path = tmp_path / "mnist_train.csv"
    text = "label" + ",p" * 784 + "\n" + ("3" + ",0" * 783 + ",255\n") * 2
    (tmp_path / "mnist_test.csv").write_text(text[text.index("\n") + 1 :], encoding="utf-8")
    read = reader(path, lambda path: read_csv_directory(path.parent, ()))
    assert fuzz(read, mutations(text.encode(), 30, CSV_TOKENS), tmp_path.name)


@pytest.mark.parametrize("mode", ["L", "I;16", "P", "RGBA", "1"])
def test_pictures(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    levels = np.tile(np.arange(32, dtype=np.uint16) * 8, (32, 1))
    whole = Image.fromarray(levels) if mode == "I;16" else Image.fromarray(levels.astype(np.uint8))
    (whole if mode == "I;16" else whole.convert(mode)).save(path)
    raw = path.read_bytes()
    read = reader(path, lambda path: cinic10._pixels(path, Image))
    assert fuzz(read, mutations(raw, 40, count=INPUTS // 5), "a.png")


def test_cifar_pickles(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    batch = {b"data": np.arange(24, dtype=np.uint8).reshape(2, 12), b"labels": [3, 4]}
    read = reader(path, lambda path: read_batch(path, 12, "labels"))
    for protocol in (2, 3, 4):
        raw = pickle.dumps(batch, protocol=protocol)
        assert len(read(raw)[1]) == 2
        tokens = (*BYTES, *(bytes([code]) for code in range(256)))
        inputs = mutations(raw, 50 + protocol, tokens, INPUTS // 3 + 1)
        assert fuzz(read, inputs, "data_batch_1") > INPUTS // 10


def nested(instruction: bytes) -> bytes:
    """A tuple of tuples of tuples, each twice the one below: 2¹⁰⁰⁰ leaves if anybody counts."""
    doubled = b"".join(
        b"q" + bytes([k % 250]) + b"h" + bytes([k % 250]) + b"\x86" for k in range(1000)
    )
    return b"\x80\x02}(N" + doubled + instruction + b"u."


@pytest.mark.parametrize(
    "raw",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a table as long as the file asks for
        b"\x80\x02]r\xff\xff\xff\xff.",
        b"\x80\x02T\xff\xff\xff\x7f.",
        b"\x80\x02B\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x04\x95\xff\xff\xff\xff\xff\xff\xff\x7f.",
        b"\x80\x05\x96\xff\xff\xff\xff\x00\x00\x00\x00.",
        nested(b"N"),
        nested(b"h\x00N"),
        b"\x80\x02" + b"(" * 9000 + b".",
        b"\x80\x02N" + b"\x85" * 9000 + b".",
        b"\x80\x02cos\nsystem\n(X\x02\x00\x00\x00idtR.",
    ],
)
def test_a_pickle_takes_no_more_than_its_bytes(raw: bytes, tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1"
    read = reader(path, lambda path: read_batch(path, 12, "labels"))
    assert fuzz(read, iter([raw]), "data_batch_1", traced=1, seconds=1) == 1


def test_cifar_records(tmp_path: Path) -> None:
    path = tmp_path / "data_batch_1.bin"
    read = reader(path, lambda path: cifar._part(path, cifar._CIFAR10, cifar.CIFAR10_LABELS))
    assert fuzz(read, mutations(b"\x03" + bytes(3072), 60), "data_batch_1.bin")


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_idx(name: str, tmp_path: Path) -> None:
    raw = bytes([0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4]) + bytes(range(24))
    raw = gzip.compress(raw, mtime=0) if name.endswith(".gz") else raw
    path = tmp_path / name
    assert fuzz(reader(path, lambda path: read_idx(path, 3)), mutations(raw, 70), name)


@pytest.mark.parametrize("compressed", [False, True])
def test_mat_files(compressed: bool, tmp_path: Path) -> None:
    path = tmp_path / "train_32x32.mat"
    content = {"X": np.zeros((32, 32, 3, 1), np.uint8), "y": np.array([[7]], np.uint8)}
    savemat(path, content, do_compression=compressed)
    read = reader(path, lambda path: svhn._read(path, tuple("0123456789")))
    head, pixels = path.read_bytes()[:300], path.read_bytes()[300:]
    inputs = (start + pixels for start in mutations(head, 80, count=INPUTS // 2))
    assert fuzz(read, inputs, "train_32x32.mat")


CONFIG = b"""name = "a"
seed = 3
[data]
source = "npz"
path = "a.npz"
label_names = ["a", "b"]
partitions = 4
unseen_people = [1, 2]
[federation]
rounds = 4
timeout_s = 1.5
[pruning]
method = "fedtiny"
density = 0.05
[devices]
fleet = ["pi_4"]
budget_bytes = { 0 = 100000 }
"""


def test_configs(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    assert fuzz(reader(path, config.load), mutations(CONFIG, 90, TOML_TOKENS), "run.toml")


BOARDS = b"""[mine]
title = "Mine"
core = "Arm Cortex-M7"
flash_kib = 2048
ram_internal_kib = 512
clock_mhz = 400
training_share = 0.25
sources = { clock = "its circuit diagram" }
"""


def test_catalogues(tmp_path: Path) -> None:
    path = tmp_path / "boards.toml"
    read = reader(path, lambda path: catalog._own(str(path), {}))
    assert fuzz(read, mutations(BOARDS, 100, TOML_TOKENS), "boards.toml")


SWEEP = b"""dataset = "watch"
base = "base.toml"
csv = "study.csv"
accuracy = "same_people"
seeds = [0, 1]
densities = [0.1, 0.05]
settings = ["data.limit=9"]
[methods]
fedtiny = []
[tuning]
csv = "tuning.csv"
accuracy = "unseen_people"
seeds = [7]
density = 0.1
[tuning.variants]
slow = ["training.lr=0.01"]
"""


def test_sweeps(tmp_path: Path) -> None:
    path = tmp_path / "study.toml"
    assert fuzz(reader(path, plan.load), mutations(SWEEP, 110, TOML_TOKENS), "study.toml")


ROWS = [
    StudyRow(
        "watch", f"m{k}", 0.05, k, 0.5, 10**6, 10**9, None if k else 4096, 3, k or None, "abc", ""
    )
    for k in range(3)
]


def test_study_tables(tmp_path: Path) -> None:
    path = tmp_path / "study.csv"
    csv_rows.write(path, StudyRow, ROWS)
    raw = path.read_bytes()
    assert csv_rows.read(path, StudyRow) == ROWS
    assert fuzz(
        reader(path, lambda path: csv_rows.read(path, StudyRow)),
        mutations(raw, 120, CSV_TOKENS),
        "study.csv",
    )


EVENTS = b"""{"event": "start", "round": 0, "engine": "sparse", "model": "m", "parameters": 9, \
"statistics": 2, "training_flops_dense": 12}
{"event": "device", "round": 0, "partition": 1, "samples": 4, "ledger": {"partition": 1, \
"device": "pi_4", "budget_bytes": 9, "predicted_peak_bytes": 8, "measured_peak_bytes": null, \
"batch": 4, "micro_batch": 2, "recompute": ["a"], "lines": {"weights": 8}}}
{"event": "exchange", "round": 1, "phase": "train", "asked": 1, "answered": 1, "down": \
{"payload": 1, "wire": 2, "kinds": {"a": 1}}, "up": {"payload": 1, "wire": 2, "kinds": {}}, \
"failures": [{"partition": 0, "reason": "x"}], "seconds": 0.5}
{"event": "evaluation", "round": 1, "group": "same_people", "who": 1, "count": 2, "correct": 1, \
"loss_sum": 0.5, "confusion": [[1, 1], [0, 0]]}
{"event": "end", "round": 2, "seconds": 1.5, "watts": 3, "more": {"a": [1]}}
"""


def test_metrics(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(EVENTS)
    assert len(metrics.read(path).events) == 5
    assert fuzz(reader(path, metrics.read), mutations(EVENTS, 130, JSON_TOKENS), "metrics.jsonl")


GRAPH = Graph(
    "tiny",
    (2, 1, 4),
    (
        Conv("a", INPUT, 2, 3, (1, 3), padding=(0, 1), prunable=False),
        Conv("b", "a", 3, 3, (1, 3), padding=(0, 1)),
        Pool("p", "b"),
        Linear("fc", "p", 3, 2, prunable=False),
    ),
)


def test_graphs() -> None:
    raw = GRAPH.to_json().encode()
    inputs = mutations(raw, 140, JSON_TOKENS)
    assert fuzz(lambda raw: Graph.from_json(raw.decode("utf-8", "surrogateescape")), inputs, "")


@pytest.mark.parametrize("name", ["tiny", "every_operator"])
def test_tflite_models(name: str, tmp_path: Path) -> None:
    pytest.importorskip("tflite", reason="pip install tflite flatbuffers")
    import tflite_nets

    path = tmp_path / "net.tflite"
    inputs = mutations(getattr(tflite_nets, name)(), 145, count=INPUTS // 2)
    assert fuzz(reader(path, read_tflite), inputs, "net.tflite") > INPUTS // 10


NORMALIZATION = Normalization(np.zeros(2, np.float32), np.ones(2, np.float32))


def damaged_checkpoints(
    arrays: dict[str, np.ndarray], manifest: dict, seed: int
) -> Iterator[bytes]:
    """Damage in the file's header, and in the manifest, inside a header that is whole."""
    import json

    text = json.dumps(manifest).encode()
    raw = save(arrays, metadata={"fedtiny": text.decode()})
    head = 8 + int.from_bytes(raw[:8], "little")
    yield from mutations(raw, seed, JSON_TOKENS, INPUTS // 4)
    for header in mutations(raw[8:head], seed + 1, JSON_TOKENS, INPUTS // 4):
        yield len(header).to_bytes(8, "little") + header + raw[head:]
    for mutated in mutations(text, seed + 2, JSON_TOKENS, INPUTS // 2):
        own = mutated.decode("utf-8", "replace")
        yield save(arrays, metadata={"fedtiny": own})


def test_models(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    sensor = SensorSpec(("ax", "ay"), ("g", "g"), (0.5, 0.5))
    ranges = dict.fromkeys(GRAPH.observed, (-1.0, 1.0))
    model = TrainedModel(GRAPH, sparse_model(GRAPH), NORMALIZATION, ranges, ("a", "b"), sensor)
    inputs = damaged_checkpoints(model.arrays(), model.manifest(), 150)
    assert fuzz(reader(path, TrainedModel.load), inputs, "model.safetensors") > INPUTS // 4


def test_checkpoints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "round-00003.safetensors"
    store = CheckpointStore(tmp_path, RunConfig(), GRAPH)
    arrays = model_arrays(sparse_model(GRAPH)) | {
        "input.mean": NORMALIZATION.mean,
        "input.std": NORMALIZATION.std,
    }
    manifest = {
        "round": 3,
        "story": {"method": "fedtiny"},
        "described": {},
        "offences": {"1": 2},
        "config": state.digest(store.config),
        "graph": GRAPH.to_json(),
    }
    digest = manifest["config"]
    monkeypatch.setattr(state, "digest", lambda _: digest)  # takes time
    inputs = damaged_checkpoints(arrays, manifest, 160)
    assert fuzz(reader(path, lambda _: store.latest()), inputs, path.name) > INPUTS // 4


@pytest.mark.parametrize(
    "digest", [b"", b"\n", b"\xff\xfe", b"0" * 64, b"abc  model.safetensors\n"]
)
def test_a_digest_that_is_none(digest: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.with_name(path.name + ".sha256").write_bytes(digest)
    assert fuzz(reader(path, TrainedModel.load), iter([b"x"]), "model.safetensors")


def promise(shape: tuple[int, ...], dtype: str = "<i2") -> bytes:
    content = io.BytesIO()
    header = {"descr": dtype, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(content, header)
    return content.getvalue() + bytes(64)


@pytest.mark.parametrize(
    "member",
    [
        promise((10**6, 10**3, 1, 1)),
        promise((2**62, 2**62, 1, 1)),
        promise((-1, 1, 1, 1)),
        promise((32, 1, 1, 0)),
        promise((4,), "|O"),
        promise((4,), "<U2000000000"),
        promise((10**12,), "|V0"),
        b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + bytes(64),
        b"not an array",
        b"",
    ],
)
def test_an_array_takes_no_more_than_its_bytes(member: bytes, tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    raw = archive({**zipped(MINE), "x.npy": member})
    assert fuzz(reader(path, read_npz), iter([raw]), "mine.npz", traced=1, seconds=1) == 1


def test_a_zip_that_promises_more_than_it_can_hold(tmp_path: Path) -> None:
    path = tmp_path / "mine.npz"
    raw = bytearray(archive({"x.npy": bytes(64)}))
    where = raw.index(b"PK\1\2") + 24
    raw[where : where + 4] = (2**31).to_bytes(4, "little")
    assert fuzz(reader(path, read_npz), iter([bytes(raw)]), "mine.npz", traced=1) == 1


def test_csv_rows_are_what_the_writer_wrote() -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [csv_rows.columns(StudyRow), [*asdict(ROWS[0]).values()]]
    )
    assert csv_rows.parse(Path("a.csv"), text.getvalue().replace("4096", ""), StudyRow) != ROWS
