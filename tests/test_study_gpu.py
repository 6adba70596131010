"""The study of as many rounds as fit some minutes of a GPU; here on the CPU."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fedtiny.errors import FedTinyError
from fedtiny.report import rows as csv_rows
from fedtiny.report.study import StudyRow
from sims.study import gpu
from sims.study import plan as sweep_plan
from sims.study.gpu import Pace, affordable_rounds, cli, with_rounds

ROOT = Path(__file__).parents[1]
SWEEP = f"""
dataset = "watch"
base = "{ROOT / "sims/configs/demo.toml"}"
csv = "gpu.csv"
accuracy = "same_people"
seeds = [0]
densities = [0.05]
settings = [
  "dense_reference=false", "export.enabled=false", "training.engine=torch",
  "devices.fleet=['pi_5']", "data.partitioner=iid", "data.partitions=2", "data.limit=200",
  "pretraining.epochs=1",
]
[methods]
fedtiny = ["pruning.method=fedtiny"]
fedshape = ["pruning.method=fedshape", "pruning.shapes=2", "pruning.heat_rounds=1"]
"""

seconds = st.floats(0.01, 1e4)


@given(st.lists(st.builds(Pace, seconds, seconds), min_size=1, max_size=4), st.floats(0, 1e6))
def test_all_runs_fit_and_one_round_more_would_not(paces: list[Pace], budget: float) -> None:
    def takes(rounds: int) -> float:
        return sum(pace.start_s + rounds * pace.round_s for pace in paces)

    rounds = affordable_rounds(paces, budget)
    assert rounds == 0 or takes(rounds) <= budget * (1 + 1e-9)
    assert takes(rounds + 1) >= budget * (1 - 1e-9)


def sweep_file(tmp_path: Path, text: str = SWEEP) -> Path:
    (tmp_path / "sweep.toml").write_text(text, encoding="utf-8")
    return tmp_path / "sweep.toml"


def test_a_race_is_part_of_its_methods_rounds(tmp_path: Path) -> None:
    fedtiny, fedshape = sweep_plan.jobs(sweep_plan.load(sweep_file(tmp_path)), tmp_path)
    assert with_rounds(fedtiny, 9).config.federation.rounds == 9
    assert with_rounds(fedshape, 9).config.federation.rounds == 7
    assert with_rounds(fedshape, 9).config.federation.evaluate_every == 7
    with pytest.raises(FedTinyError, match=r"needs 3 rounds, there is time for 2: raise --minutes"):
        with_rounds(fedshape, 2)
    with pytest.raises(FedTinyError, match=r"needs 1 rounds, there is time for 0"):
        with_rounds(fedtiny, 0)


def test_runs_have_the_rounds_that_fit_and_leave_their_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu, "pace", lambda _job: Pace(0.0, 6.0))
    arguments = [sweep_file(tmp_path), "--minutes", "1", "--json"]
    folders = ["--out", tmp_path, "--runs", tmp_path / "runs"]
    result = CliRunner().invoke(cli, [str(word) for word in [*arguments, *folders]])
    assert result.exit_code == 0, result.output
    rows = csv_rows.read(tmp_path / "gpu.csv", StudyRow)
    assert [(row.method, row.rounds) for row in rows] == [("fedshape", 4), ("fedtiny", 4)]
    assert {one["rounds"] for one in json.loads(result.stdout)} == {4}


def test_the_pace_of_a_run_is_that_of_its_later_rounds(tmp_path: Path) -> None:
    job = sweep_plan.jobs(sweep_plan.load(sweep_file(tmp_path)), tmp_path)[0]
    found = gpu.pace(job)
    assert found.round_s > 0
    assert found.start_s > 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ('"training.device=cuda", ', "PyTorch sees no CUDA device"),
        ("", "there is time for neither here"),
    ],
)
def test_what_cannot_run_is_said_before_anything_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, says: str
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    text = SWEEP.replace("settings = [", f"settings = [{change}")
    if not change:
        text += (
            '[tuning]\ncsv = "t.csv"\naccuracy = "unseen_people"\nseeds = [7]\ndensity = 0.05\n'
            '[tuning.variants]\na = ["training.learning_rate=0.3"]\n'
        )
    result = CliRunner().invoke(cli, [str(sweep_file(tmp_path, text)), "--out", str(tmp_path)])
    assert result.exit_code != 0
    assert says in f"{result.output} {result.exception}"
    assert not (tmp_path / "gpu.csv").exists()
