"""An exported model called from Python: the bytes of the integer reference, and clear refusals."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from test_firmware_export import every_kernel, export, interface_of, make_counts

import fedtiny.firmware
from fedtiny import toolchain
from fedtiny.bench import synthetic
from fedtiny.firmware import FirmwareError, LoadedModel
from fedtiny.firmware.loaded import load
from fedtiny.quant import reference
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.toolchain import ToolchainError


@pytest.fixture(scope="module")
def model() -> IntegerGraph:
    return synthetic.integer_model(every_kernel(), 0.2)


@pytest.fixture(scope="module")
def project(model: IntegerGraph, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project") / "firmware"
    export(model, folder)
    return folder


@pytest.fixture(scope="module")
def loaded(project: Path) -> LoadedModel:
    return load(str(project))


def test_it_is_the_integer_model(model: IntegerGraph, loaded: LoadedModel) -> None:
    counts = make_counts(model, 200)
    expected = reference.run(model, counts).reshape(200, -1)
    assert len(np.unique(expected, axis=0)) > 100
    assert np.array_equal(loaded.logits(counts), expected)
    assert np.array_equal(loaded.predict(counts), expected.argmax(axis=1))
    assert np.array_equal(loaded.predict(counts.astype(np.int64)), loaded.predict(counts))
    assert loaded.labels == interface_of(model).labels
    assert loaded.input_shape == model.input.shape
    scale, zero_point = loaded.output_scale
    assert zero_point == model.output.zero_point
    assert scale == pytest.approx(model.output.scale, rel=1e-6)


def test_threads_share_it(model: IntegerGraph, loaded: LoadedModel) -> None:
    counts = make_counts(model, 400)
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(loaded.logits, np.split(counts, 8)))
    assert np.array_equal(np.concatenate(found), loaded.logits(counts))


def test_it_is_compiled_once(project: Path, loaded: LoadedModel, monkeypatch) -> None:
    def no_compiler(*_: object) -> None:
        raise AssertionError("compiled again")

    monkeypatch.setattr(toolchain, "run_tool", no_compiler)
    assert fedtiny.firmware.load(project).labels == loaded.labels


def test_what_is_edited_is_compiled_again(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "firmware"
    shutil.copytree(project, folder)
    weights = folder / "model_weights.c"
    text = weights.read_text(encoding="utf-8")
    first = re.compile(r"(= \{\s*)(-?\d+)")
    edited = first.sub(lambda found: f"{found[1]}{int(found[2]) ^ 1}", text, count=1)
    assert edited != text
    weights.write_text(edited, encoding="utf-8")
    with pytest.raises(FirmwareError, match="not those that were exported"):
        load(folder)


def test_a_folder_that_is_read_only(project: Path, model: IntegerGraph, tmp_path: Path) -> None:
    folder = tmp_path / "firmware"
    shutil.copytree(project, folder, ignore=shutil.ignore_patterns("build"))
    (folder / "build").write_text("no folder can be made here", encoding="utf-8")  # root may write
    assert len(load(folder).predict(make_counts(model, 3))) == 3


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        (np.zeros((1, 2, 3), np.int16), "windows × channels × height × width"),
        (np.zeros((2, 9, 10, 3), np.int16), r"takes \(N, 3, 9, 10\)"),
        (np.zeros((2, 3, 9, 10)), "counts are float64"),
        (np.full((2, 3, 9, 10), 40_000), "not int16"),
        (np.zeros((2, 3, 9, 10), bool), "counts are bool"),
    ],
)
def test_other_counts(counts: np.ndarray, said: str, loaded: LoadedModel) -> None:
    with pytest.raises(FirmwareError, match=said):
        loaded.predict(counts)


def test_no_counts_at_all(loaded: LoadedModel) -> None:
    assert loaded.predict(np.zeros((0, 3, 9, 10), np.int16)).shape == (0,)


def test_no_model(tmp_path: Path) -> None:
    with pytest.raises(FirmwareError, match="fedtiny export RUN"):
        load(tmp_path)


def test_no_compiler(project: Path, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(project, tmp_path / "copy", ignore=shutil.ignore_patterns("build"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolchainError, match="apt-get install -y gcc"):
        load(tmp_path / "copy")
