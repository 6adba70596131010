"""``fedtiny export --torch``: a user's own module to checked firmware, without a federation."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch_networks import MLPERF_TINY, network
from typer.testing import CliRunner

from fedtiny.boards.verify import verify_targets
from fedtiny.cli import app
from fedtiny.errors import FedTinyError
from fedtiny.export.imported import export_imported
from fedtiny.firmware.planner import ANY_CORTEX_M4, fit
from fedtiny.importing.calibration import read_calibration
from fedtiny.importing.torch_module import imported
from fedtiny.quant import reference

NET = """
import torch
from torch import nn

def make():
    torch.manual_seed(3)
    net = nn.Sequential(
        nn.Conv1d(2, 6, 3, padding=1), nn.BatchNorm1d(6), nn.ReLU(),
        nn.Conv1d(6, 12, 3), nn.ReLU6(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(12, 3),
    )
    return net

class Odd(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x)

number = 3
def fails(): raise RuntimeError("no weights here")
def wants(a, b, c): return None
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with ``my_net.py``, and ``data.npz`` for it, whose labels are the module's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "my_net.py").write_text(NET, encoding="utf-8")
    x = np.random.default_rng(0).normal(0, 1, (60, 2, 20)).astype(np.float32)
    space: dict[str, Any] = {}
    exec(NET, space)
    with torch.no_grad():
        y = space["make"]().eval()(torch.from_numpy(x)).argmax(1).numpy()
    np.savez(tmp_path / "data.npz", x=x, y=y, scale=1 / 4096)
    yield tmp_path
    sys.modules.pop("my_net", None)


def invoke(*arguments: object) -> str:
    done = CliRunner().invoke(app, list(map(str, arguments)))
    return done.output if done.exit_code == 0 else f"{done.exit_code}: {done.output}"


def test_a_module_becomes_checked_firmware(here: Path) -> None:
    asked = ("export", "--torch", "my_net:make", "--calibration", "data.npz", "--prune", "0.25")
    printed = invoke(*asked, "--out", "firmware")
    assert "pruned to 25.0% in one shot" in printed
    found = re.search(r"calibration labels: float ([\d.]+)%, pruned [\d.]+%, int8 [\d.]+%", printed)
    assert float(found[1]) > 98  # of what the labels were made by, on counts
    assert re.search("firmware: flash .* B; 60 vectors, 0 mismatches", printed)
    assert (here / "firmware" / "Sequential.h").is_file()
    costs = json.loads(invoke(*asked, "--report", "--json"))
    layers = {layer["name"]: layer for layer in costs["layers"]}
    assert layers["0"]["density"] == layers["7"]["density"] == 1.0  # the ends
    assert layers["3"]["density"] == pytest.approx(0.25, abs=0.02)
    dense = json.loads(invoke(*asked[:-2], "--report", "--json"))
    assert dense["flash_bytes"] > costs["flash_bytes"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ([], "name a run folder, or a network"),
        (["--torch", "my_net:make"], "--out DIR"),
        (["--torch", "my_net:make", "--out", "o"], "--calibration data.npz"),
        (["run", "--torch", "my_net:make"], "leave out the run"),
        (["run", "--out", "o"], "a run's project is written to"),
        (["--torch", "my_net", "--out", "o", "--calibration", "data.npz"], "write module:name"),
        (["--torch", "nowhere:n", "--out", "o", "--calibration", "data.npz"], "No module named"),
        (["--torch", "my_net:n", "--out", "o", "--calibration", "data.npz"], "no attribute 'n'"),
        (["--torch", "my_net:number", "--out", "o", "--calibration", "data.npz"], "it is int"),
        (["--torch", "my_net:fails", "--out", "o", "--calibration", "data.npz"], "no weights here"),
        (["--torch", "my_net:wants", "--out", "o", "--calibration", "data.npz"], r"needs \(a, b"),
        (["--torch", "my_net:Odd", "--out", "o", "--calibration", "data.npz"], "sigmoid"),
    ],
)
def test_what_is_missing_or_wrong_is_named(here: Path, options: list[str], words: str) -> None:
    done = CliRunner().invoke(app, ["export", *options])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert re.search(words, done.stderr), done.stderr


def write(path: Path, **arrays: object) -> Path:
    np.savez(path / "c.npz", **{name: np.asarray(value) for name, value in arrays.items()})
    return path / "c.npz"


def test_integers_are_counts_and_floats_are_what_the_network_takes(tmp_path: Path) -> None:
    """Images of bytes, by their own bytes or as they were trained on: the same samples."""
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 4, 4), dtype=np.uint8)
    mean, std = np.array([0.4, 0.5, 0.6]), np.array([0.2, 0.25, 0.3])
    trained = ((pixels / 255 - mean[:, None, None]) / std[:, None, None]).astype(np.float32)
    affine = {"scale": 1 / (255 * std), "offset": -mean / std}
    for x in (pixels, trained):
        data = read_calibration(write(tmp_path, x=x, **affine))
        assert np.array_equal(data.counts, pixels)
        taken, _ = data.samples(2).batch(np.arange(5))
        np.testing.assert_allclose(taken, trained, rtol=1e-4, atol=1e-5)
    plain = read_calibration(write(tmp_path, x=pixels[:, :, 0, 0], y=np.arange(5)))
    assert (plain.shape, plain.counts.shape, plain.names(7)[-1]) == ((3,), (5, 3, 1, 1), "6")
    assert np.array_equal(plain.samples(7).batch(np.arange(5))[0][..., 0, 0], pixels[:, :, 0, 0])


ONES = np.ones((2, 3, 4, 4), np.int16)


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": [1]}, "no array named x"),
        ({"x": ONES / 2}, "x is float: add scale"),
        ({"x": ONES * np.inf, "scale": 1.0}, "NaN or infinite"),
        ({"x": ONES * 4000, "scale": 0.1}, None),
        ({"x": ONES * 4000.0, "scale": 0.1}, "beyond int16: raise scale"),
        ({"x": ONES, "scale": [1.0, 2.0]}, r"expected \(3,\)"),
        ({"x": ONES, "scale": 0.0}, "scale must be positive"),
        ({"x": ONES, "offset": np.nan}, "offset is not finite"),
        ({"x": ONES[0, 0, 0]}, r"expected \(N, C, H, W\)"),
        ({"x": ONES[:0]}, r"expected \(N, C, H, W\)"),
        ({"x": np.array(["a"])}, "expected"),
        ({"x": ONES, "y": [1]}, "wrong count"),
        ({"x": ONES, "y": [0, -1]}, "numbered from 0"),
        ({"x": ONES, "labels": ["a", "a"]}, "a"),
    ],
)
def test_a_calibration_file_that_means_nothing_is_refused(
    tmp_path: Path, arrays: dict[str, object], words: str | None
) -> None:
    path = write(tmp_path, **arrays)
    if words is None:
        assert read_calibration(path).normalization.std[0] == 10
        return
    with pytest.raises(FedTinyError, match=words):
        read_calibration(path)


@pytest.mark.firmware
@pytest.mark.parametrize("name", MLPERF_TINY)
def test_mlperf_tiny_from_torch_runs_on_boards(name: str, tmp_path: Path) -> None:
    """Random weights, one network pruned: every operation, its layout and its rescaling."""
    module, shape = network(name)
    x = np.random.default_rng(0).normal(0, 1, (24, *shape)).astype(np.float32)
    path = write(tmp_path, x=x, scale=1 / 4096)
    taken = imported(module, path, 0.1 if name == "ds_cnn" else None)
    export_imported(taken, tmp_path / "c", fit(taken.integer, ANY_CORTEX_M4), check=False)
    results = verify_targets(tmp_path / "c", ["host", "qemu-m4", "qemu-m55"], 4)
    assert {result.mismatches for result in results.values()} == {0}
    if name == "ds_cnn":
        return
    with torch.no_grad():
        wanted = module(torch.from_numpy(x)).numpy().reshape(24, -1)
    if name in ("mobilenet_v1", "resnet8"):
        wanted = np.log(wanted)
    found = taken.integer.output.decode(reference.run(taken.integer, taken.counts))
    assert alike(found, wanted) > 0.97


def alike(found: np.ndarray, wanted: np.ndarray) -> float:
    """Correlation of outputs, up to a constant a sample (that softmax takes away)."""
    centred = [a - a.mean(axis=1, keepdims=True) for a in (found, wanted)]
    return float(np.corrcoef(*(a.ravel() for a in centred))[0, 1])
