"""Exporting a run: the plan that is printed for a board is the plan that is written."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from fedtiny.bench import synthetic
from fedtiny.cli import app
from fedtiny.data.dataset import SensorSpec
from fedtiny.data.statistics import Normalization
from fedtiny.errors import FedTinyError
from fedtiny.export.run import export_run, fit_run
from fedtiny.firmware.planner import DoesNotFitError
from fedtiny.models import smartwatch_cnn
from fedtiny.models.ops import INPUT
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel

DIRECT = "fedtiny_sparse_conv_s8"
PLANAR = "fedtiny_sparse_conv_planar_s8"


@pytest.fixture(scope="module")
def trained():
    """Random weights behind the interface of the demo's data."""
    graph = smartwatch_cnn((6, 1, 128), 7)
    channels = tuple(f"channel {i}" for i in range(6))
    return TrainedModel(
        graph,
        synthetic.float_model(graph, 0.05),
        Normalization(np.zeros(6, np.float32), np.full(6, 500, np.float32)),
        {INPUT: (-4.0, 4.0), **{node.name: (-4.0, 4.0) for node in graph.nodes}},
        tuple(f"class {i}" for i in range(7)),
        SensorSpec(channels, ("g",) * 6, (1.0,) * 6),
    )


@pytest.fixture
def run(trained, tiny_config, tmp_path):
    """The folder of a finished run, all but its events."""
    folder = RunFolder(tmp_path / "run")
    folder.create(tiny_config())
    trained.save(folder.model)
    return folder


def invoke(*arguments):
    done = CliRunner().invoke(app, list(map(str, arguments)), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return json.loads(done.output)


def test_the_plan_of_the_board_is_what_is_written(run):
    """An LX7 has no DSP instructions: another kernel pays there than on a Cortex-M4."""
    code = {}
    for board, kernel in (("stm32f407", PLANAR), ("esp32_s3", DIRECT)):
        printed = invoke("export", run.path, "--device", board, "--report", "--json")
        written = invoke("export", run.path, "--device", board, "--json", "--no-check")
        assert written["target"] == board
        assert written["layers"] == printed["layers"]
        assert (written["flash_bytes"], written["arena_bytes"]) == (
            printed["flash_bytes"],
            printed["arena_bytes"],
        )
        code[board] = (run.firmware / "model.c").read_text(encoding="utf-8")
        assert f"{kernel}(" in code[board]
        manifest = json.loads((run.firmware / "manifest.json").read_text(encoding="utf-8"))
        assert manifest["target"]["name"] == board
        assert [layer["kernel"] for layer in manifest["sizes"]["layers"]] == [
            layer["kernel"] for layer in printed["layers"]
        ]
    assert f"{PLANAR}(" not in code["esp32_s3"]
    assert code["stm32f407"] != code["esp32_s3"]


def test_a_run_that_learns_on_the_device_is_written_and_checked(run):
    found = invoke("export", run.path, "--learn", "head", "--json")
    assert (found["lessons"], found["lesson_mismatches"], found["mismatches"]) == (4, 0, 0)
    assert found["learn"]["parameters"] == 7 * 96 + 7
    assert found["learn"]["ram_bytes"] == (
        found["arena_bytes"] + found["learn"]["learner_bytes"] + found["learn"]["window_bytes"]
    )
    readme = (run.firmware / "README.md").read_text(encoding="utf-8")
    assert f"| {found['learn']['ram_bytes']} |" in readme
    for line, message in (
        (["export", run.path, "--learn", "full"], "learn by head or repnet_one_way"),
        (["export", "--learn", "head"], "name a run folder, too"),
    ):
        done = CliRunner().invoke(app, list(map(str, line)))
        assert done.exit_code != 0
        assert message in " ".join(done.output.split())


def test_sparse_weights_of_4_bits_are_an_option(run):
    bits = {8: invoke("export", run.path, "--json"), 4: None}
    bits[4] = invoke("export", run.path, "--weight-bits", 4, "--json")
    assert (bits[4]["mismatches"], bits[4]["vectors"]) == (0, bits[8]["vectors"])
    assert bits[4]["flash_bytes"] < 0.9 * bits[8]["flash_bytes"]
    sparse = {layer["format"] for layer in bits[4]["layers"]}
    assert sparse & {"D4", "P4"}
    for line, message in (
        (["export", run.path, "--weight-bits", "5"], "'5' is not one of '4', '8'"),
        (["export", run.path, "--weight-bits", 4, "--learn", "head"], "--weight-bits 8"),
        (["export", "--weight-bits", 4], "name a run folder, too"),
    ):
        done = CliRunner().invoke(app, list(map(str, line)))
        assert done.exit_code != 0
        assert message in " ".join(done.output.split())


def test_a_board_it_does_not_fit_is_refused_before_anything_is_written(run, monkeypatch):
    monkeypatch.setattr("fedtiny.firmware.planner.RAM_RESERVE_BYTES", 128 * 1024 + 192 * 1024)
    with pytest.raises(DoesNotFitError, match="nrf52840"):
        export_run(run, fitted=fit_run(run, "nrf52840"))
    assert not run.firmware.exists()


@pytest.mark.parametrize(
    ("options", "target", "core"),
    [
        ({}, "any Cortex-M4", "m4"),
        ({"core": "m55"}, "any Cortex-M55", "m55"),
        ({"core": "M0"}, "any Cortex-M0", "m0"),
        ({"core": "cortex-m33"}, "any Cortex-M33", "m4"),
        ({"device": "nrf5340"}, "nrf5340", "m4"),
        ({"device": "stm32n6570_dk"}, "stm32n6570_dk", "m55"),
    ],
)
def test_the_plan_is_for_the_core_or_the_boards_core(run, options, target, core):
    found = fit_run(run, **options).target
    assert (found.name, found.core.value) == (target, core)


def test_a_core_is_exported_for_and_named_in_the_manifest(run):
    written = invoke("export", run.path, "--core", "m55", "--json", "--no-check")
    assert written["target"] == "any Cortex-M55"
    manifest = json.loads((run.firmware / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["target"]["core"] == "m55"


def test_unknown_cores_and_two_answers_are_refused(run):
    with pytest.raises(FedTinyError, match=r"no core is called 'm99'; choose from m0, m3"):
        fit_run(run, core="m99")
    with pytest.raises(FedTinyError, match="give either --device or --core"):
        fit_run(run, "nrf5340", "m55")


def test_boards_that_need_no_firmware_are_refused(run):
    with pytest.raises(FedTinyError, match="pi_4 is no microcontroller"):
        fit_run(run, "pi_4")
