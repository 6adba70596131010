"""The study of unequal devices: runs are let begin, and rows become tables and figures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fedtiny.config import RunConfig
from fedtiny.errors import FedTinyError
from fedtiny.report import fleet_report, fleet_tables
from fedtiny.report import rows as csv_rows
from fedtiny.report.fleet_study import FleetRow, measure
from fedtiny.report.rows import RowError
from fedtiny.runs.folder import RunFolder
from sims.pipeline import preflight

Configure = Callable[..., RunConfig]

SMALL = ("devices.fleet=['pi_4', 'esp32_s3']", "pruning.density=0.2")
TIGHT = "devices.budget_bytes={1 = 300000, 3 = 300000, 5 = 300000, 7 = 300000}"


def row(method: str, seed: int, accuracy: float) -> FleetRow:
    return FleetRow(
        "watch", method, seed, accuracy, accuracy, accuracy, 10, 20, 2**20, 60.0, "abc", 0.05,
        0.5, 8, 1.0, "",
    )  # fmt: skip


ROWS = [
    *(row("weakest", seed, 0.70) for seed in range(3)),
    *(row("nested", seed, gained) for seed, gained in enumerate((0.72, 0.73, 0.74))),
    *(row("exclude", seed, spread) for seed, spread in enumerate((0.60, 0.90, 0.70))),
]


def test_a_run_with_parts_begins_where_the_whole_model_fits_nobody_small(
    tiny_config: Configure,
) -> None:
    settings = (*SMALL, TIGHT)
    with pytest.raises(FedTinyError, match="partitions 1, 3, 5, 7"):
        preflight(tiny_config(*settings))
    _, plans = preflight(tiny_config(*settings, "tiers.policy=nested"))
    assert [plan.predicted_peak_bytes <= plan.budget_bytes for plan in plans] == [True] * 8
    _, plans = preflight(tiny_config(*settings, "tiers.policy=exclude"))
    assert [plan.partition for plan in plans] == [0, 2, 4, 6]


def test_a_fleet_that_can_hold_no_part_is_refused_with_its_reason(tiny_config: Configure) -> None:
    nothing = "devices.budget_bytes={" + ", ".join(f"{k} = 2000" for k in range(8)) + "}"
    with pytest.raises(FedTinyError, match=r"not even the smallest part of smartwatch_cnn"):
        preflight(tiny_config(*SMALL, nothing, "tiers.policy=nested"))


def test_ahead_is_more_than_the_spread_of_the_difference() -> None:
    table = fleet_tables.differences("watch", ROWS)
    assert table.rows == [
        ["weakest", "+3.0 ± 1.0", "ahead"],
        ["exclude", "-0.3 ± 15.0", "no difference seen"],
    ]


def test_rows_come_back_and_become_a_page(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    csv_rows.write(path, FleetRow, ROWS)
    assert csv_rows.read(path, FleetRow) == ROWS
    (picture,), text = fleet_report(path, tmp_path)
    assert picture.stat().st_size > 10_000
    assert "| nested " in text.splitlines()[4]


def test_a_run_without_parts_has_no_row(tiny_config: Configure, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.create(tiny_config())
    (folder.metrics).write_text("", encoding="utf-8")
    with pytest.raises(RowError, match="a fleet's row needs all"):
        measure(folder, "watch", "nested", 0.05, "abc")
