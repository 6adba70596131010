"""A sweep adds rows to a table of the same code and the same samples only, and alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedtiny.report import rows as csv_rows
from fedtiny.report.study import StudyRow
from fedtiny.runs import lock
from sims.code_version import code_version
from sims.study import plan as sweep_plan
from sims.study import sweep
from sims.study.plan import Job

SWEEP = """
dataset = "watch"
base = "base.toml"
csv = "study.csv"
accuracy = "same_people"
seeds = [0, 1]
densities = [0.1]
settings = ["export.enabled=false"]
[methods]
fedtiny = []
dense = ["pruning.method=dense"]
"""


class Table:
    """A sweep half done: rows of seed 0 are there, and nothing is ever trained."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.csv = folder, folder / "study.csv"
        self.started: list[Job] = []
        (folder / "base.toml").write_text("", encoding="utf-8")
        (folder / "sweep.toml").write_text(SWEEP, encoding="utf-8")
        plan = sweep_plan.load(folder / "sweep.toml")
        done = [job for job in sweep_plan.jobs(plan, folder) if job.seed == 0]
        data = sweep._data(done[0].config)
        zeros = (0.5, 1, 1, 1, 1, 1)
        self.rows = [StudyRow(*job.key, *zeros, code_version(), data) for job in done]

        def note(pending: Sequence[Job], *rest: object) -> list[str]:
            self.started += pending
            return []

        monkeypatch.setattr(sweep, "run_all", note)

    def sweep(self, *more: str) -> tuple[int, str]:
        """(exit status, what was said)."""
        places = ["--out", str(self.folder), "--runs", str(self.folder / "runs")]
        command = [str(self.folder / "sweep.toml"), *places, "--workers", "1", *more]
        done = CliRunner().invoke(sweep.cli, command)
        return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Table:
    return Table(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({}, ()),
        ({"data": ""}, ()),  # a row of a FedTiny that did not write it
        ({"commit": "abc"}, ("code",)),
        ({"commit": "abc-dirty"}, ("code",)),
        ({"data": "0" * 12}, ("data",)),
        ({"commit": "abc", "data": "0" * 12}, ("code", "data")),
    ],
)
def test_new_rows_stand_beside_their_like_only(
    change: dict[str, str], flags: tuple[str, ...], table: Table
) -> None:
    csv_rows.write(table.csv, StudyRow, [table.rows[0], replace(table.rows[1], **change)])
    before = table.csv.read_bytes()
    accept: list[str] = []
    for flag in flags:
        status, said = table.sweep(*accept)
        assert status == 2
        assert f"--accept {flag}" in said
        assert "--fresh" in said
        assert not table.started
        assert table.csv.read_bytes() == before
        accept += ["--accept", flag]
    status, said = table.sweep(*accept)
    assert status == 0, said
    assert [job.seed for job in table.started] == [1, 1]


def test_fresh_needs_no_likeness(table: Table) -> None:
    csv_rows.write(
        table.csv, StudyRow, [replace(row, commit="abc", data="0" * 12) for row in table.rows]
    )
    status, said = table.sweep("--fresh")
    assert status == 0, said
    assert len(table.started) == 4
    assert csv_rows.read(table.csv, StudyRow) == []


def test_two_sweeps_never_share_run_folders(table: Table) -> None:
    """Tables in two places, the run folders in one: the second would delete the first's."""
    runs = table.folder / "runs/watch"
    runs.mkdir(parents=True)
    with lock.hold(runs / "lock", str(runs), "a sweep"):
        status, said = table.sweep()
    assert status == 2
    assert "is in use: a sweep since" in said
    assert not table.started
    assert table.sweep()[0] == 0
