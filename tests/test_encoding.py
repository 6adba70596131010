"""A device that can train nothing takes part by what it sends encoded, if its board says it may."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_faults import LossyGrid

from clients.app import client_app
from clients.handlers import HANDLERS
from fedtiny.codecs.device_half import DeviceHalf
from fedtiny.codecs.encoders import pnc_encoder
from fedtiny.codecs.task import EncodeTask
from fedtiny.config import RunConfig, parse
from fedtiny.data.server import load_server
from fedtiny.data.shares import client_file, read
from fedtiny.engine import available
from fedtiny.models import build
from fedtiny.report import write
from fedtiny.runs.encode_events import Encoded
from fedtiny.runs.events import DeviceDescribed, Evaluated, Exchanged, TierGiven
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.settings import ConfigError
from fedtiny.wire.encode import EncodeResult
from fedtiny.wire.packet import Packet, WireError
from fedtiny.wire.phase import Phase
from strategies.app import run
from strategies.encoding import check_encoding
from strategies.exchange import FederationError

pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")

BOARD = """
[{name}]
title = "{name}"
core = "Arm Cortex-M4F"
flash_kib = 1024
ram_internal_kib = 256
clock_mhz = 64
raw_data_may_leave = {may}
[{name}.sources]
flash = "assumed: a test's"
ram_internal = "assumed: a test's"
clock = "assumed: a test's"
"""


def config_of(path: Path, **federation: object) -> RunConfig:
    """Three devices; two that cannot train, of which one may send what it sees."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 2, 300)
    x = draw.integers(0, 100, (300, 1, 16, 16)) + 100 * y[:, None, None, None]
    x[:, :, :8] -= 50 * y[:, None, None, None]
    np.savez(path / "x.npz", x=x.astype(np.uint8), y=y)
    boards = BOARD.format(name="open_tag", may="true") + BOARD.format(name="shut_tag", may="false")
    (path / "boards.toml").write_text(boards, encoding="utf-8")
    return parse(
        {
            "dense_reference": False,
            "data": {
                "source": "npz",
                "path": str(path / "x.npz"),
                "partitions": 3,
                "partitioner": "dirichlet",
                "alpha": 100.0,
                "public_per_class": 40,
            },
            "model": {"name": "smartwatch_cnn@2"},
            "federation": {"rounds": 2, "encode": True, **federation},
            "training": {"epochs": 1, "engine": "sparse"},
            "pretraining": {"epochs": 2},
            "pruning": {"method": "magnitude", "density": 0.5},
            "devices": {
                "fleet": ["pi_4", "open_tag", "shut_tag"],
                "catalog": str(path / "boards.toml"),
            },
            "tiers": {"policy": "nested"},
            "export": {"enabled": False},
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    path = tmp_path_factory.mktemp("encoding")
    config, folder = config_of(path), RunFolder(path / "run")
    run(config, LossyGrid(client_app(HANDLERS), config, folder), folder, False)
    return folder


def test_who_may_send_is_evaluated_by_its_codes_and_trains_nothing(folder: RunFolder) -> None:
    assert {one.partition for one in folder.events(TierGiven)} == {0}
    refused = {one.partition for one in folder.events(DeviceDescribed) if one.refused}
    assert refused == {1, 2}
    sent, shut = folder.events(Encoded)
    assert (sent.partition, sent.refused, shut.partition, shut.count) == (1, "", 2, 0)
    assert shut.refused == "shut_tag: its raw data may not leave it (raw_data_may_leave = false)"
    config = folder.load_config()
    tests = read(client_file(folder.data, 1))
    count = sum(len(array) for name, array in tests.items() if name == "y_test")
    assert sent.count == count > 0
    assert sent.correct / sent.count > 0.8
    assert 0 < sent.payload_bytes < 40 * sent.count < 256 * sent.count
    assert config.federation.encode


def test_only_codes_and_classes_travel(folder: RunFolder) -> None:
    (one,) = [one for one in folder.events(Exchanged) if one.phase is Phase.ENCODE]
    assert one.up.kinds.keys() <= Phase.ENCODE.replies.keys()
    (sent, _) = folder.events(Encoded)
    assert one.up.kinds["codes"] == sent.payload_bytes
    trained = {one.who for one in folder.events(Evaluated) if one.group == "same_people"}
    assert 0 in trained


def test_the_report_says_what_came_of_codes(folder: RunFolder) -> None:
    report = write(folder)
    first, second = report["encoded"]
    assert (first["partition"], second["partition"]) == (1, 2)
    text = (folder.path / "report.md").read_text(encoding="utf-8")
    assert "## What devices sent as codes" in text
    assert "its raw data may not leave it" in text


def test_without_parts_of_the_model_the_setting_is_refused(tmp_path: Path) -> None:
    config = config_of(tmp_path).model_dump(mode="json")
    with pytest.raises(ConfigError, match=r"set tiers\.policy, too"):
        parse({**config, "tiers": {"policy": "none"}})


def test_what_no_codec_takes_is_refused_before_the_run(tmp_path: Path) -> None:
    config = config_of(tmp_path)
    check_encoding(config, build("smartwatch_cnn@2", (1, 16, 16), 2))
    odd = build("smartwatch_cnn@2", (1, 1, 128), 2)
    with pytest.raises(FederationError, match="multiples of 4"):
        check_encoding(config, odd)
    federation = config.federation.model_copy(update={"encode": False})
    check_encoding(config.model_copy(update={"federation": federation}), odd)


@pytest.fixture(scope="module")
def half(folder: RunFolder) -> DeviceHalf:
    from fedtiny.codecs.server.for_model import codec_for

    config = folder.load_config()
    public = load_server(folder.data, config.data, config.seed).public
    return codec_for(public, TrainedModel.load(folder.model), config.seed).half


def test_a_device_has_the_servers_encoder_to_the_bit(half: DeviceHalf) -> None:
    graph = pnc_encoder((1, 16, 16))
    found = EncodeTask.read(graph, EncodeTask(half).packet()).half
    x = np.random.default_rng(1).integers(0, 256, (20, 1, 16, 16)).astype(np.uint8)
    assert [found.encode(one) for one in x] == [half.encode(one) for one in x]


Spoil = Callable[[Packet], object]


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("labels", np.array([0, 2]), "classes 0 to 1"),
        ("labels", np.array([0, -1]), "classes 0 to 1"),
        ("labels", np.zeros(0, np.int64), "sizes"),
        ("sizes", np.array([2, 2], np.int32), "sizes"),
        ("sizes", np.array([-1, 4], np.int32), "sizes"),
        ("codes", np.zeros(9, np.uint8), "sizes"),
        ("codes", np.zeros(3, np.int8), "codes"),
    ],
)
def test_replies_that_are_none_are_refused(name: str, array: np.ndarray, message: str) -> None:
    good = EncodeResult((b"a", b"bc"), np.array([0, 1])).packet()
    assert EncodeResult.read(2, 2, good).codes == (b"a", b"bc")
    with pytest.raises(WireError, match=message):
        EncodeResult.read(2, 2, Packet({**good.arrays, name: array}, good.scalars))
    with pytest.raises(WireError, match="described 1"):
        EncodeResult.read(2, 1, good)
