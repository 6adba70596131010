"""The training benchmark: its rivals do the same work, its figures add up."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedtiny.bench import roofline, table
from fedtiny.bench.contenders import contenders
from fedtiny.bench.roofline import measure_peak
from fedtiny.bench.workload import Workload, workload
from fedtiny.cli import app
from fedtiny.engine import EngineOptions, available, unavailable_reason
from fedtiny.models.cost import training_flops
from fedtiny.training.masked.trainer import TorchTrainer
from fedtiny.training.sparse.recompute import recomputing_plans

needs_engine = pytest.mark.skipif(not available(), reason=str(unavailable_reason()))
RIVALS = {"dense", "masked", "sparse", "sparse_16_bits"}


def workload_flops() -> int:
    work = workload("smartwatch_cnn", 0.05, 16)
    return work.flops(work.nnz)


def small(density: float = 0.1, **changes: int) -> Workload:
    return workload("resnet8", density, 8, input_shape=(1, 12, 12), classes=5, **changes)


@needs_engine
def test_the_command_prints_every_figure() -> None:
    arguments = ["bench", "train", "--model", "smartwatch_cnn", "--density", "0.05"]
    arguments += ["--batch", "16", "--micro-batch", "8", "--repeats", "3"]
    arguments += ["--recompute", "--layers", "--json"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert (figures["model"], figures["batch"], figures["threads"]) == ("smartwatch_cnn", 16, 1)
    assert figures["density"] == pytest.approx(0.05, rel=1e-3)
    for key in ("ms", "samples_per_s", "peak_bytes", "roofline_share"):
        assert set(figures[key]) == RIVALS | {"sparse_recompute"}
        assert all(value > 0 for value in figures[key].values())
    assert figures["speedup"] == pytest.approx(
        figures["ms"]["dense"] / figures["ms"]["sparse"], rel=1e-2
    )
    assert max(figures["roofline_share"].values()) < 1
    layers, besides = figures["layers"][:5], figures["layers"][5:]
    assert [one["name"] for one in layers] == ["conv1", "conv2", "conv3", "conv4", "classifier"]
    assert all(0 < one["floor_ms"] < one["forward_ms"] + one["backward_ms"] for one in layers)
    assert {"load", "loss", "norm grad", "pool"} <= {one["name"] for one in besides}
    assert sum(one["flops"] for one in layers) == pytest.approx(workload_flops(), rel=1e-9)
    assert figures["peak_bytes"]["sparse"] < figures["peak_bytes"]["dense"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "nope"], "unknown model"),
        (["--density", "0"], "density"),
        (["--batch", "0"], "--batch"),
        (["--batch", "4", "--micro-batch", "5"], "--micro-batch"),
        (["--input", "3x"], "CxHxW"),
        (["--repeats", "0"], "--repeats"),
    ],
)
def test_bad_input_is_named(arguments: list[str], words: str) -> None:
    result = CliRunner().invoke(app, ["bench", "train", *arguments])
    assert result.exit_code == 2
    assert words in result.stderr


@needs_engine
def test_all_rivals_train_the_same_model_at_density_one() -> None:
    work = small(density=1.0)
    trainers = {name: rival.make() for name, rival in contenders(work, frozenset()).items()}
    for turn in range(3):
        chosen = work.chosen(turn)
        losses = {n: one.step(work.x[chosen], work.y[chosen]) for n, one in trainers.items()}
        assert losses.pop("sparse_16_bits") == pytest.approx(losses["dense"], rel=1e-2)
        np.testing.assert_allclose(list(losses.values()), losses["dense"], rtol=1e-4)


def test_the_dense_rival_accumulates_micro_batches_like_the_oracle() -> None:
    work = small(density=1.0, micro_batch=3)
    dense = contenders(work)["dense"].make()
    oracle = TorchTrainer(work.graph, work.sparse, work.sgd, 3)
    for turn in range(2):
        chosen = work.chosen(turn)
        x, y = work.x[chosen], work.y[chosen]
        assert dense.step(x, y) == pytest.approx(oracle.step(x, y), rel=1e-4)


def test_flops_leave_out_only_the_gradient_of_the_input() -> None:
    work = small()
    first = work.graph.layers[0]
    macs = int(np.prod(first.weight_shape)) * int(np.prod(work.graph.shapes[first.name][1:]))
    expected = work.batch * (training_flops(work.graph, work.nnz) - 2 * macs)
    assert work.flops(work.nnz) == expected
    assert work.flops() == work.batch * (training_flops(work.graph) - 2 * macs)


@needs_engine
def test_recomputing_saves_measured_memory_and_changes_no_result() -> None:
    work = small()
    *_, smallest = recomputing_plans(work.graph, work.sparse.masks, EngineOptions(work.micro_batch))
    layers = smallest.layout.options.recompute
    assert layers
    rivals = contenders(work, layers)
    plain, less = rivals["sparse"], rivals["sparse_recompute"]
    assert less.measure() < plain.measure()
    chosen = work.chosen(0)
    x, y = work.x[chosen], work.y[chosen]
    first, second = plain.make(), less.make()
    for _ in range(2):
        assert first.step(x, y) == second.step(x, y)


def test_the_roof_is_above_a_matrix_product(monkeypatch: pytest.MonkeyPatch) -> None:
    roof = measure_peak()
    monkeypatch.setattr(roofline, "compiler", lambda: None)
    fallback = measure_peak()
    assert (roof.source, fallback.source) == ("fma", "sgemm")
    assert fallback.flops_per_s > 0
    assert 1e9 < roof.flops_per_s < 1e12


@needs_engine
def test_the_table_is_written_between_its_markers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = tmp_path / "training.md"
    page.write_text(
        f"above\n{table.BEGIN}\nan earlier table\n{table.END}\nbelow\n", encoding="utf-8"
    )
    case = table.Case("watch", "smartwatch_cnn", 0.05, 4)
    monkeypatch.setattr(table, "CASES", (case, dataclasses.replace(case, density=0.1)))
    options = ["--repeats", "1", "--page", str(page)]
    result = CliRunner().invoke(table.cli, options)
    assert result.exit_code == 0, result.output
    text = page.read_text(encoding="utf-8")
    assert text.startswith("above\n")
    assert text.endswith("below\n")
    assert "an earlier table" not in text
    assert text.count("| watch, 6×1×128, batch 4 |") == 2
    data = (tmp_path / "bench_train.csv").read_text(encoding="utf-8").splitlines()
    assert len(data) == 3
    assert {"speedup", "ms.dense", "peak_bytes.sparse"} <= set(data[0].split(","))
    assert (tmp_path / "bench_train.png").stat().st_size > 1000
