"""Damaged records of runs, devices and deployments: our error naming the file, or what it says."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from mutations import CSV_TOKENS, INPUTS, JSON_TOKENS, TOML_TOKENS, fuzz, mutations, reader

from fedtiny import config as run_config
from fedtiny.data import DataConfig
from fedtiny.data.recordings import read_csv
from fedtiny.node.request import read_request, request_of_this_machine, write_request
from fedtiny.runs import identity
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.identity import Identity
from sims.deploy import home, registry
from sims.deploy.home import Home
from sims.deploy.registry import Node, Standing


def test_run_records(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    config = run_config.parse({"devices": {"fleet": ["pi_4"]}})
    Identity.of(config, "d" * 64, "inline", "c" * 10).save(folder)
    raw = folder.identity.read_bytes()

    def read(path: Path) -> None:
        found = identity.load(folder)
        assert found is None or json.dumps(asdict(found))

    inputs = mutations(raw, 200, JSON_TOKENS)
    assert fuzz(reader(folder.identity, read), inputs, "run.json") > INPUTS // 4


def test_what_was_recorded_is_read_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    one = Identity.of(run_config.parse({}), "d" * 64, "ray")
    one.save(folder)
    assert identity.load(folder) == one


def test_requests(tmp_path: Path) -> None:
    path, key = tmp_path / "pi0.request", ec.derive_private_key(7, ec.SECP384R1())
    write_request(path, request_of_this_machine("pi0", key), key)
    inputs = mutations(path.read_bytes(), 210, JSON_TOKENS)
    found = fuzz(reader(path, read_request), inputs, "pi0.request")
    assert found > INPUTS * 3 // 4, "what is signed has few other forms"


NODE = Node(
    name="pi0",
    standing=Standing.APPROVED,
    partition=0,
    public_key="ssh-rsa",
    fingerprint="SHA256:0",
    memory_max_bytes=2**28,
    data="/var/lib/fedtiny/data/share-00000.npz",
    valid_until=datetime(2027, 1, 1, tzinfo=UTC),
)


def test_nodes_of_a_deployment(tmp_path: Path) -> None:
    where = Home(tmp_path)
    where.nodes.mkdir()
    registry.save(where, NODE)
    path = where.nodes / "pi0.json"
    inputs = mutations(path.read_bytes(), 220, JSON_TOKENS)
    assert fuzz(reader(path, lambda _: registry.load(where, "pi0")), inputs, "pi0.json")


def test_settings_of_a_deployment(tmp_path: Path) -> None:
    where = home.create(tmp_path / "fed", home.Settings("fed", "127.0.0.1", 8443))
    path = where.settings_file
    inputs = mutations(path.read_bytes(), 230, TOML_TOKENS)
    assert fuzz(reader(path, lambda _: where.settings()), inputs, path.name) > INPUTS // 4


def test_a_marked_settings_file_is_read(tmp_path: Path) -> None:
    where = home.create(tmp_path / "fed", home.Settings("fed", "127.0.0.1", 8443))
    raw = where.settings_file.read_bytes()
    where.settings_file.write_bytes(b"\xef\xbb\xbf" + raw)
    assert where.settings() == home.Settings("fed", "127.0.0.1", 8443)


@pytest.mark.parametrize("names", [("walk", "run"), ("0", "1")])
def test_recordings_as_csv(names: tuple[str, ...], tmp_path: Path) -> None:
    path = tmp_path / "morning.csv"
    rows = "".join(f"{k},{-k},{names[k % 2]}\n" for k in range(6))
    inputs = mutations(f"ax,ay,label\n{rows}".encode(), 240, CSV_TOKENS, INPUTS // 2)
    config = DataConfig(label_names=names)
    assert fuzz(reader(path, lambda path: read_csv(path, config)), inputs, path.name)
