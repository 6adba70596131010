"""A run's predicted cost, against what runs count and the paper publishes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from fedtiny.config import RunConfig, load
from fedtiny.data.simulated import summarize
from fedtiny.models.cost import forward_macs
from fedtiny.runs.events import DeviceDescribed, Exchanged, RoundFinished
from fedtiny.runs.folder import RunFolder
from sims import forecast as module
from sims.backends import Backend, run_federation
from sims.forecast import Forecast, forecast, work
from sims.launch import cli

DEMO = "sims/configs/demo.toml"


def trained_flops(config: RunConfig) -> float:
    """What the forecast says devices spend on training alone."""
    samples = summarize(config.data, config.seed)
    one = work(config, samples)
    graph = config.graph(samples.input_shape, samples.classes)
    assert one.server % samples.unseen == 0
    forward = one.server // samples.unseen
    assert forward <= 2 * forward_macs(graph) * config.federation.rounds
    return one.devices - forward * sum(samples.test)


def test_dense_cost_is_the_published_one(
    tmp_path: Path, write_published: Callable[..., Any]
) -> None:
    """FedTiny's table: 3 · F_d · E · |D_k| = 8.33e13 for ResNet-18 on a tenth of CIFAR-10."""
    write_published("cifar10", tmp_path, per_class=20)
    settings = [f"data.path={tmp_path}", "data.min_samples=3", "pruning.method=dense"]
    config = load(Path("sims/configs/paper/cifar10.toml"), settings)
    samples = summarize(config.data, config.seed)
    per_sample = trained_flops(config) / (300 * sum(samples.train))
    assert 5000 * per_sample == pytest.approx(8.33e13, rel=1e-3)


@pytest.mark.parametrize("method", ["magnitude", "erk", "dense"])
def test_flops_and_bytes_are_those_of_the_run(
    method: str, tmp_path: Path, tiny_config: Callable[..., RunConfig]
) -> None:
    config = tiny_config(f"pruning.method={method}")
    folder = RunFolder(tmp_path / "run")
    run_federation(config, folder, Backend.INLINE)
    samples = sum(event.samples for event in folder.events(DeviceDescribed))
    counted = sum(event.training_flops * samples for event in folder.events(RoundFinished))
    assert trained_flops(config) == pytest.approx(counted, rel=0.01)
    sent = sum(event.up.wire for event in folder.events(Exchanged))
    predicted = forecast(config).uplink_bytes
    assert predicted < sent < 1.5 * predicted  # the rest: descriptions, evaluations, framing


def test_a_short_run_is_not_timed(
    monkeypatch: pytest.MonkeyPatch, tiny_config: Callable[..., RunConfig]
) -> None:
    monkeypatch.setattr(module, "flops_per_second", lambda *_: pytest.fail("timed"))
    found = forecast(tiny_config())
    assert found.seconds is None
    assert str(found).startswith("less than 10 minutes on this machine")


def test_seconds_follow_the_measured_rate(
    monkeypatch: pytest.MonkeyPatch, tiny_config: Callable[..., RunConfig]
) -> None:
    monkeypatch.setattr(module, "flops_per_second", lambda *_: 1e6)
    config = tiny_config()
    one = work(config, summarize(config.data, config.seed))

    def seconds(workers: int, backend: Backend = Backend.RAY) -> float | None:
        return forecast(config, backend, workers, long_s=0).seconds

    rest = one.server + one.pretraining
    assert seconds(4, Backend.INLINE) == pytest.approx(one.total / 1e6)
    assert seconds(2) == pytest.approx((one.devices / 2 + rest) / 1e6)
    # Eight workers wait for the device with most samples.
    assert one.largest_share > 1 / 8
    assert seconds(8) == pytest.approx((one.devices * one.largest_share + rest) / 1e6)
    with_dense = tiny_config("dense_reference=true")
    assert forecast(with_dense).flops > 5 * forecast(config).flops


def test_the_rate_is_measured_on_the_engine_that_trains(
    tiny_config: Callable[..., RunConfig],
) -> None:
    found = forecast(tiny_config(), long_s=0)
    assert found.seconds is not None
    assert 0 < found.seconds < 600


def test_sentence() -> None:
    text = str(Forecast(4_100_000_000_000_000, 1_230_000_000, 2, 31 * 3600.0))
    assert text == "about 31 hours on this machine (2 cores), 4.1 PFLOP, 1.2 GB sent up"


def test_dry_run_prints_it(tmp_path: Path) -> None:
    arguments = ["--config", DEMO, "--dry-run", "--out", str(tmp_path)]
    found = json.loads(CliRunner().invoke(cli, [*arguments, "--json"]).stdout)["forecast"]
    assert found["flops"] > 1e12
    assert found["seconds"] is None
    result = CliRunner().invoke(cli, arguments)
    assert "cost: less than 10 minutes on this machine" in result.stdout


def test_a_run_prints_it_first(tmp_path: Path, tiny_overrides: list[str]) -> None:
    settings = [f"--set={one}" for one in tiny_overrides]
    arguments = ["--config", DEMO, "--backend", "inline", "--out", str(tmp_path), "--json"]
    result = CliRunner().invoke(cli, [*arguments, *settings])
    assert result.exit_code == 0, result.output
    assert result.stderr.startswith("cost: less than 10 minutes on this machine (1 core)")
    assert json.loads(result.stdout)["forecast"]["workers"] == 1
