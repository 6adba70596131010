"""Shares: what a device and the server read from their files is what was dealt to them."""

import json
import tempfile
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from flwr.app import Context, RecordDict
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from clients.device import device_of
from fedtiny import cli
from fedtiny.config import RunConfig, dump
from fedtiny.data import ClientData, DataConfig, DataError, ServerData, load_client, load_server
from fedtiny.data.dataset import Dataset
from fedtiny.data.published import PUBLISHED
from fedtiny.data.shares import client_file, server_file
from fedtiny.data.simulated import deal, deal_into, summarize
from fedtiny.errors import FedTinyError

IID = DataConfig(partitioner="iid", partitions=3, limit=300)


def same(one: ClientData | ServerData, other: ClientData | ServerData) -> bool:
    return all(
        same_set(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)
    )


def same_set(one: Dataset, other: Dataset) -> bool:
    arrays = all(
        (mine.dtype, mine.shape, mine.tobytes()) == (theirs.dtype, theirs.shape, theirs.tobytes())
        for mine, theirs in ((one.x, other.x), (one.y, other.y), (one.owner, other.owner))
    )
    return arrays and (one.labels, one.sensor) == (other.labels, other.sensor)


def write_source(folder: Path, dtype: str = "int16", own_test: bool = False, **extra) -> Path:
    """240 samples of 6 owners and 3 classes."""
    generator = np.random.default_rng(0)
    arrays = {
        "x": generator.integers(0, 250, (240, 2, 1, 8)).astype(dtype),
        "y": np.arange(240) % 3,
        "owner": np.arange(240) // 40,
        **extra,
    }
    if own_test:
        arrays |= {"x_test": arrays["x"][:30], "y_test": arrays["y"][:30]}
    np.savez(folder / "source.npz", **arrays)
    return folder / "source.npz"


@pytest.fixture
def dealt(tmp_path: Path) -> Path:
    """A folder of shares of the watch data."""
    deal_into(tmp_path / "data", IID, 0)
    return tmp_path / "data"


@settings(max_examples=40, deadline=None)
@given(
    partitioner=st.sampled_from(["natural", "dirichlet", "shards", "iid"]),
    limit=st.none() | st.integers(100, 240),
    fractions=st.tuples(st.floats(0.1, 0.5), st.floats(0.1, 0.5)),
    names=st.sampled_from([(), ("walk", "sit", "löschen")]),
    dtype=st.sampled_from(["uint8", "int16"]),
    own_test=st.booleans(),
    seed=st.integers(-5, 2**40),
)
def test_files_hold_what_was_dealt(
    partitioner, limit, fractions, names, dtype, own_test, seed
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = DataConfig(
            source="npz",
            path=write_source(folder, dtype, own_test),
            label_names=names,
            partitioner=partitioner,
            partitions=6 if own_test else 4,
            limit=limit,
            min_samples=12,
            test_fraction=fractions[0],
            development_fraction=fractions[1],
        )
        federation = deal(config, seed)
        assert deal_into(folder / "data", config, seed)
        for k, client in enumerate(federation.clients):
            share = client_file(folder / "data", k)
            assert same(load_client(share, config, seed, k), client)
        assert same(load_server(folder / "data", config, seed), federation.server)
        found = summarize(config, seed)
        assert found.train == tuple(len(client.train) for client in federation.clients)
        assert (found.unseen, found.classes) == (len(federation.server.unseen), 3)
        assert not deal_into(folder / "data", config, seed)
        deal_into(folder / "again", config, seed)
        for path in (folder / "data").iterdir():
            assert path.read_bytes() == (folder / "again" / path.name).read_bytes()


def test_a_share_that_is_missing_names_the_command(tmp_path: Path) -> None:
    path = client_file(tmp_path, 3)
    with pytest.raises(DataError, match=r"no such file.*fedtiny deal CONFIG\.toml --out") as caught:
        load_client(path, IID, 0, 3)
    assert str(caught.value).startswith(str(path))
    with pytest.raises(DataError, match=r"server\.npz: no such file.*fedtiny deal"):
        load_server(tmp_path, IID, 0)


def test_a_foreign_share_is_refused(dealt: Path) -> None:
    share = client_file(dealt, 1)
    with pytest.raises(DataError, match="holds the samples of partition 1, not of partition 2"):
        load_client(share, IID, 0, 2)
    others = IID.model_copy(update={"test_fraction": 0.5})
    for config, seed in ((IID, 1), (others, 0)):
        with pytest.raises(DataError, match="dealt with other data settings or another seed"):
            load_client(share, config, seed, 1)
        with pytest.raises(DataError, match="dealt with other data settings or another seed"):
            load_server(dealt, config, seed)
    server_file(dealt).write_bytes(share.read_bytes())
    with pytest.raises(DataError, match="holds the samples of partition 1, not of server"):
        load_server(dealt, IID, 0)


def test_a_damaged_share_is_refused_and_dealt_again(dealt: Path) -> None:
    """Whatever bytes are wrong, the only error is ours, and never are other samples read."""
    path, generator = client_file(dealt, 2), np.random.default_rng(0)
    whole, before = path.read_bytes(), load_client(path, IID, 0, 2)
    refusals = []
    for attempt in range(150):
        raw = bytearray(whole)
        for position in generator.integers(0, len(raw) if attempt % 2 else 900, 3):
            raw[position] = generator.integers(0, 256)
        path.write_bytes(raw[: generator.integers(0, len(raw))] if attempt % 5 == 0 else raw)
        try:
            assert same(load_client(path, IID, 0, 2), before)
        except DataError as error:
            refusals.append(str(error))
    assert len(refusals) > 100
    assert all(text.startswith(str(path)) for text in refusals)
    path.write_bytes(whole[:-1000])
    assert deal_into(dealt, IID, 0)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x_test": None}, "no array named x_test"),
        ({"y_train": np.zeros(3, np.int64)}, "wrong count: 3 entries in y_train"),
        ({"y_test": np.full(5, 7)}, "wrong count|label 7"),
        ({"x_development": np.zeros((4, 6, 1, 9), np.int16)}, "wrong count|samples of shape"),
        ({"labels": np.array(["one"])}, "but there are 1 classes"),
        ({"scale": np.array(["a"] * 6)}, "scale is <U1"),
        ({"x_train": np.zeros((4, 6), np.int16)}, "expected \\(N, C, H, W\\)"),
    ],
)
def test_a_malformed_share_is_named(dealt: Path, change, message) -> None:
    path = client_file(dealt, 0)
    with np.load(path) as archive:
        arrays = {**archive, **change}
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    with pytest.raises(DataError, match=message) as caught:
        load_client(path, IID, 0, 0)
    assert str(caught.value).startswith(str(path))


def test_shares_of_a_source_that_changed_are_dealt_again(tmp_path: Path) -> None:
    config = DataConfig(source="npz", path=write_source(tmp_path), partitions=4)
    assert deal_into(tmp_path / "data", config, 0)
    with np.load(config.path) as archive:
        x = archive["x"].copy()
    x[0] += 1
    write_source(tmp_path, x=x)
    assert deal_into(tmp_path / "data", config, 0)
    share = client_file(tmp_path / "data", 0)
    assert same(load_client(share, config, 0, 0), deal(config, 0).clients[0])
    moved = config.model_copy(update={"path": config.path.rename(tmp_path / "moved.npz")})
    assert not deal_into(tmp_path / "data", moved, 0)


@pytest.mark.parametrize(
    ("node", "run", "share"),
    [
        ({"data": "/srv/mine.npz"}, {"data": "/a", "out": "/b"}, "/srv/mine.npz"),
        ({"data": "/no"}, {"data": "/a", "out": "/b"}, "/no/share-00002.npz"),
        ({}, {"data": "/a", "out": "/b"}, "/a/share-00002.npz"),
        ({}, {"data": "", "out": "/b"}, "/b/data/share-00002.npz"),
        ({}, {"out": "/b"}, "/b/data/share-00002.npz"),
        ({}, {"data": "", "out": ""}, None),
    ],
)
def test_where_a_device_looks_for_its_share(tmp_path: Path, node, run, share) -> None:
    (tmp_path / "config.toml").write_text(dump(RunConfig()), encoding="utf-8")
    run = {"config": str(tmp_path / "config.toml"), "overrides": json.dumps([]), **run}
    context = Context(1, 1, {"partition-id": 2, **node}, RecordDict(), run)
    if share is None:
        with pytest.raises(FedTinyError, match="'data' is empty"):
            device_of(context)
        return
    assert device_of(context).share == Path(share)


def test_the_command_deals(tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(dump(RunConfig(data=IID)), encoding="utf-8")
    command = ["deal", str(tmp_path / "run.toml"), "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(cli.app, [*command, "--set", "seed=4"])
    assert result.stdout == f"{tmp_path / 'out'}: 3 shares written\n"
    assert same(load_client(client_file(tmp_path / "out", 1), IID, 4, 1), deal(IID, 4).clients[1])
    found = json.loads(CliRunner().invoke(cli.app, [*command, "--set=seed=4", "--json"]).stdout)
    assert not found["written"]
    assert found["samples"]["public"] == 35
    assert len(found["samples"]["train"]) == 3


def test_one_line_adds_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its reader, and its entry in the table: nothing else knows the names."""

    def read(directory: Path, label_names: tuple[str, ...]) -> tuple[Dataset, Dataset]:
        whole = deal(IID, 0).clients[0].train
        return whole, whole.take(np.arange(5))

    settings = {"source": "mine", "path": tmp_path, "partitioner": "iid", "partitions": 2}
    with pytest.raises(ValueError, match="no source 'mine'; there are watch, npz, idx, "):
        DataConfig(**settings)
    monkeypatch.setitem(PUBLISHED, "mine", read)
    assert len(deal(DataConfig(**settings), 0).server.unseen) == 5
