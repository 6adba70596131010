"""``fedtiny adapt``: a wearer's recordings in, an adapted model and its report out."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from builders import random_model
from typer.testing import CliRunner

from fedtiny.adapt.budget import budget_bytes
from fedtiny.adapt.learning import Lesson
from fedtiny.adapt.personal import Order, adapt
from fedtiny.adapt.recipe import AdaptError
from fedtiny.adapt.recordings import read_recordings, split
from fedtiny.cli import app
from fedtiny.config.adapt import MethodName
from fedtiny.data.dataset import SensorSpec
from fedtiny.data.errors import DataError
from fedtiny.data.statistics import Normalization
from fedtiny.devices.catalog import get
from fedtiny.devices.planner import BudgetError
from fedtiny.engine import available
from fedtiny.models import resnet8, smartwatch_cnn
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel

pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")

LABELS = ("walk", "row", "rest")
KEYS = {
    "method", "accuracy_before", "accuracy_after", "saved_bytes", "peak_bytes",
    "predicted_peak_bytes", "macs",
}  # fmt: skip


@pytest.fixture(scope="module")
def finished() -> TrainedModel:
    """A model that knows nothing: what it can do afterwards it learned from the wearer."""
    graph = smartwatch_cnn((2, 1, 32), 3, 16)
    normal = Normalization(np.zeros(2, np.float32), np.full(2, 500, np.float32))
    sensor = SensorSpec(("x", "y"), ("g", "g"), (1.0, 1.0))
    return TrainedModel(graph, random_model(graph, 0.2), normal, {}, LABELS, sensor)


def recorded(path, of_each: int = 3, readings: int = 160, classes=(0, 1, 2), **other):
    """Every class a rhythm of its own, every recording another phase."""
    draw, counts, labels = np.random.default_rng(0), [], []
    for label in classes:
        for _ in range(of_each):
            time = np.arange(readings) + draw.uniform(0, 20)
            wave = 800 * np.sin(time[:, None] * (0.2 + 0.3 * label) + np.array([0, 1]))
            counts.append(wave + draw.normal(0, 60, wave.shape))
            labels.append(label)
    arrays = {
        "counts": np.concatenate(counts).astype(np.int16),
        "length": np.full(len(labels), readings),
        "label": np.array(labels),
    }
    np.savez(path, **{**arrays, **other})
    return path


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    return recorded(tmp_path_factory.mktemp("own") / "own.npz")


@pytest.fixture
def run(finished, tiny_config, tmp_path):
    folder = RunFolder(tmp_path / "run")
    folder.create(tiny_config())
    finished.save(folder.model)
    return folder


def test_the_command_adapts_saves_and_says_what_it_took(run, own):
    words = ["adapt", str(run.path), "--data", str(own), "--json"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    found = json.loads(done.output)
    assert found.keys() >= KEYS
    assert found["accuracy_after"] > found["accuracy_before"] + 0.2
    assert found["peak_bytes"] == found["predicted_peak_bytes"] <= found["budget_bytes"]
    assert sum(found["lines"].values()) == found["peak_bytes"]
    assert (found["recordings"], found["held_out"]) == (6, 3)
    folder = run.path / "adapted" / "repnet_one_way"
    assert (
        json.loads((folder / "adapt.json").read_text(encoding="utf-8"))["method"] == found["method"]
    )
    assert "not learn from" in (folder / "report.md").read_text(encoding="utf-8")
    adapted = TrainedModel.load(folder / "model.safetensors")
    assert adapted.ranges.keys() == set(adapted.graph.observed)


@pytest.mark.parametrize("method", list(MethodName))
def test_every_method_learns_the_wearer(finished, own, method):
    order = Order(own, method, lesson=Lesson(100, 16, 1e-2))
    found = adapt(finished, order, get("pi_zero_2_w")).outcome
    assert found.accuracy_after > found.accuracy_before
    assert found.peak_bytes == found.predicted_peak_bytes
    assert found.trained_parameters > 0
    assert found.macs > 0


def test_the_same_order_gives_the_same_bytes(finished, own, tmp_path):
    order = Order(own, MethodName.REPNET, lesson=Lesson(5))
    files = []
    for name in ("a", "b"):
        adapt(finished, order, get("pi_4")).save(tmp_path / name)
        files.append((tmp_path / name / "model.safetensors").read_bytes())
    assert files[0] == files[1]


def test_a_board_without_training_adapts_within_its_ram(finished, own):
    board = get("nrf52840")
    assert not board.trains
    found = adapt(finished, Order(own, MethodName.HEAD, lesson=Lesson(5)), board).outcome
    assert found.peak_bytes <= budget_bytes(board)
    tight, order = replace(board, ram_internal_bytes=4096), Order(own, MethodName.HEAD)
    with pytest.raises(BudgetError, match="ledger line"):
        adapt(finished, order, tight)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"label": np.arange(9) % 4}, DataError, "label 3 is none of the model's"),
        ({"labels": np.array(["walk", "row", "jump"])}, DataError, "'jump' is none of the model's"),
        ({"label": np.zeros(9, int)}, AdaptError, "all are 'walk': .* record at least one other"),
        ({"length": np.array([31, 289, *[160] * 7])}, AdaptError, "recording 0 .* has 31 readings"),
        ({"length": np.full(9, 100)}, DataError, "lengths add to 900"),
        ({"label": np.zeros(8, int)}, DataError, "9 recordings, 8 labels"),
        ({"counts": np.zeros((1440, 3), np.int16)}, DataError, r"the model takes int16 \(N, 2\)"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_said_with_the_fix(tmp_path, changes, error, message):
    with pytest.raises(error, match=message):
        read_recordings(recorded(tmp_path / "odd.npz", **changes), LABELS, (2, 1, 32))


def test_recordings_are_split_whole_and_some_are_held_out(own, tmp_path):
    found = read_recordings(own, LABELS, (2, 1, 32))
    first, last = split(found, 1)
    assert (first.classes.tolist(), last.classes.tolist()) == ([0, 1, 2], [0, 0, 1, 1, 2, 2])
    with pytest.raises(AdaptError, match="lower --recordings"):
        split(found, 3)
    once = read_recordings(recorded(tmp_path / "once.npz", 1), LABELS, (2, 1, 32))
    with pytest.raises(AdaptError, match="record some exercise once more"):
        split(once, None)


def pictures(path, **other):
    """Stripes across, stripes down, and none."""
    draw, label = np.random.default_rng(0), np.arange(24) % 3
    x = draw.integers(0, 60, (24, 1, 12, 12))
    x[label == 0, :, ::4] += 150
    x[label == 1, :, :, ::4] += 150
    np.savez(path, **{"x": x.astype(np.uint8), "label": label, **other})
    return path


def test_pictures_are_learned_from_like_windows(tmp_path):
    graph = resnet8((1, 12, 12), 3)
    normal = Normalization(np.full(1, 80, np.float32), np.full(1, 70, np.float32))
    sensor = SensorSpec(("grey",), ("1",), (1.0,))
    finished = TrainedModel(graph, random_model(graph, 0.2), normal, {}, LABELS, sensor)
    order = Order(pictures(tmp_path / "own.npz"), MethodName.HEAD, 4, lesson=Lesson(60, 12, 1e-2))
    adapted = adapt(finished, order, get("pi_zero_2_w"))
    found = adapted.outcome
    assert (found.recordings, found.held_out) == (found.windows, found.held_out_windows) == (12, 12)
    assert found.accuracy_after > found.accuracy_before + 0.2
    assert found.peak_bytes == found.predicted_peak_bytes
    assert len(adapted.held_out) == 12
    for wrong in (np.zeros((24, 1, 12, 12)), np.zeros((24, 12, 12), np.uint8)):
        with pytest.raises(DataError, match=r"the model takes uint8 or int16 \(N, 1, 12, 12\)"):
            read_recordings(pictures(tmp_path / "odd.npz", x=wrong), LABELS, graph.input_shape)


@pytest.mark.firmware
@pytest.mark.skipif(not shutil.which("gcc"), reason="no compiler")
@pytest.mark.parametrize("method", [MethodName.REPNET, MethodName.REPNET_ONE_WAY])
def test_the_adapted_model_is_exported_and_its_c_agrees(run, own, method):
    words = ["adapt", str(run.path), "--data", str(own), "--method", method.value]
    words += ["--json", "--export"]
    done = CliRunner().invoke(app, words, catch_exceptions=False)
    found = json.loads(done.output)
    firmware = found["firmware"]
    assert firmware["mismatches"] == 0 < firmware["vectors"]
    assert firmware["accuracy"] > found["accuracy_after"] - 0.1
    folder = run.path / "adapted" / method.value
    written = json.loads((folder / "adapt.json").read_text(encoding="utf-8"))
    assert written["firmware"] == firmware
    said = f"in int8 C for {firmware['target']}: {100 * firmware['accuracy']:.1f} % of the held-out"
    assert said in (folder / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [(("--target", "pi_4"), "say --export, too"), (("--export", "--target", "pi"), "'pi'")],
)
def test_a_project_for_no_board_is_refused_before_anything_is_learned(run, own, words, message):
    done = CliRunner().invoke(app, ["adapt", str(run.path), "--data", str(own), *words])
    assert message in done.output + str(done.exception)
    assert not (run.path / "adapted").exists()
