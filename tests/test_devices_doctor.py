"""What the doctor says of boards and of this machine."""

from dataclasses import replace
from pathlib import Path

import pytest

from fedtiny.devices.catalog import catalog, get
from fedtiny.devices.flash import estimate_flash_bytes, layer_nnz
from fedtiny.doctor.arena import estimate_arena_bytes
from fedtiny.doctor.boards import examine, examine_all
from fedtiny.doctor.encoding import encoding
from fedtiny.doctor.environment import check_environment
from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Add, Conv, Linear, Pool

WATCH = build("smartwatch_cnn", (6, 1, 128), 7)


def test_nrf52840_is_refused_for_training_but_runs():
    report = examine(get("nrf52840"), WATCH, batch=64, density=0.05)
    assert not report.training.possible
    assert report.training.micro_batch is None
    assert "nrf52840 is a run target" in report.training.reason
    assert "largest ledger line is temporaries" in report.training.reason
    assert "256 KiB of RAM" in report.training.reason
    assert report.run.possible
    assert report.run.reason == ""


def test_at_least_two_boards_of_the_catalogue_need_a_smaller_micro_batch():
    reports = examine_all(catalog().values(), WATCH, batch=64, density=0.05)
    trained = {r.profile.name: r.training.micro_batch for r in reports if r.training.possible}
    assert trained["pi_zero_2_w"] == trained["pi_4"] == trained["pi_5"] == 64
    assert trained["esp32_s3"] == trained["stm32f746g_disco"] == trained["portenta_h7"] == 16


def test_reported_step_fits_the_budget():
    for report in examine_all(catalog().values(), WATCH, batch=64, density=0.05):
        if report.training.possible:
            assert report.training.prediction.peak_bytes <= report.training.budget_bytes


def test_a_model_too_large_for_flash_is_named():
    vgg = build("vgg11", (3, 32, 32), 10)
    run = examine(get("nano_33_ble_sense"), vgg, batch=16, density=1.0).run
    assert not run.possible
    assert "for code, it has 1.00 MiB" in run.reason


def test_activations_too_large_for_ram_are_named():
    nodes = (
        Conv("conv", INPUT, 3, 8, (3, 3), padding=(1, 1), prunable=False),
        Pool("pool", "conv"),
        Linear("classifier", "pool", 8, 2, prunable=False),
    )
    wide = Graph("wide", (3, 256, 256), nodes)
    run = examine(get("nrf52840"), wide, batch=1, density=1.0).run
    assert not run.possible
    assert "activations need 704 KiB of RAM, it has 256 KiB" in run.reason


def test_arena_counts_a_shortcut_as_live_until_its_addition():
    graph = Graph(
        "residual",
        (2, 4, 4),
        (
            Conv("stem", INPUT, 2, 4, (1, 1), prunable=False),  # 64 B, read again by the addition
            Conv("body", "stem", 4, 16, (1, 1)),  # 256 B
            Conv("back", "body", 16, 4, (1, 1)),  # 64 B
            Add("add", "back", "stem"),
            Pool("pool", "add"),
            Linear("classifier", "pool", 4, 2, prunable=False),
        ),
    )
    assert estimate_arena_bytes(graph) == 64 + 256 + 64


def test_flash_by_hand():
    graph = Graph(
        "tiny",
        (1, 4, 4),
        (
            Conv("first", INPUT, 1, 4, (3, 3), prunable=False),
            Conv("middle", "first", 4, 10, (2, 2)),  # 160 weights, 16 present at 10 %
            Pool("pool", "middle"),
            Linear("last", "pool", 10, 2, prunable=False),
        ),
    )
    per_channel = 12 * (4 + 10 + 2)
    assert layer_nnz(graph, 0.1) == {"middle": 16}
    assert estimate_flash_bytes(graph, 0.1) == 36 + (16 * 2 + 10 * 2) + 20 + per_channel
    assert estimate_flash_bytes(graph, 1.0) == 36 + 160 + 20 + per_channel


def test_environment_finds_what_the_tests_run_on():
    checks = {check.name: check for check in check_environment()}
    assert checks["python"].ok
    assert {"torch", "flwr", "ray", "gcc", "make"} <= set(checks)
    assert all(check.fix == "" for check in checks.values() if check.ok)
    assert all(check.fix for check in checks.values() if not check.ok)


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_environment_names_missing_fashion_mnist_files(tmp_path: Path, suffix: str):
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3")
    for name in names:
        (tmp_path / f"{name}-ubyte{suffix}").touch()
    check = check_environment(tmp_path)[-1]
    assert not check.ok
    assert check.detail.startswith("t10k-labels-idx1-ubyte not in")
    assert check.fix == "apt install dataset-fashion-mnist"
    (tmp_path / f"t10k-labels-idx1-ubyte{suffix}").touch()
    assert check_environment(tmp_path)[-1].ok


def test_environment_names_missing_programs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("PATH", str(tmp_path))
    checks = {check.name: check for check in check_environment()}
    assert not checks["gcc"].ok
    assert checks["gcc"].fix == "apt install gcc"


def test_encoding_is_refused_with_the_policy_and_fits_where_it_is_allowed() -> None:
    images, series = build("resnet8", (3, 32, 32), 10), WATCH
    assert not any(board.raw_data_may_leave for board in catalog().values())
    board = get("nrf52840")
    assert "may not leave" in encoding(board, images).why
    open_ = replace(board, raw_data_may_leave=True)
    assert "time series" in encoding(open_, series).why
    found = encoding(open_, images)
    assert found.fits
    assert found.lines["arena"] == 3 * 32 * 32 + 16 * 8 * 8, "the picture and the first maps"
    assert "of RAM" in encoding(replace(open_, ram_internal_bytes=2048), images).why
    assert "of flash" in encoding(replace(open_, flash_bytes=33 * 1024), images).why
    last = examine(open_, images, 16, 0.05).modes[-1]
    assert last == found


def test_a_board_that_is_refused_for_training_adapts_in_c_with_its_ledger() -> None:
    train, adapt, *_ = examine(get("nrf52840"), WATCH, batch=64, density=0.05).modes
    assert not train.fits
    assert adapt.how == "repnet_one_way beside int8, in C"
    assert adapt.lines.keys() == {"flash", "arena", "learner", "window"}
    assert adapt.peak_bytes < 96 * 1024
    small = replace(get("nrf52840"), ram_internal_bytes=70 * 1024)
    head = examine(small, WATCH, batch=64, density=0.05).modes[1]
    assert head.how == "head beside int8, in C"
    tiny = replace(get("nrf52840"), ram_internal_bytes=8 * 1024)
    none = examine(tiny, WATCH, batch=64, density=0.05).modes[1]
    assert not none.fits
    assert "ledger line" in none.why
    assert "head in C" in none.why
