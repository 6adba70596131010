"""The launcher and the command line, as a user types them."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fedtiny.cli import app as fedtiny_cli
from fedtiny.cli import main as fedtiny_main
from sims.launch import cli

DEMO = "sims/configs/demo.toml"
runner = CliRunner()


def test_dry_run_says_what_would_happen_and_writes_nothing(tmp_path: Path) -> None:
    result = runner.invoke(cli, ["--config", DEMO, "--dry-run", "--json", "--out", str(tmp_path)])
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["parameters"] >= 50_000
    squeezed = [row for row in facts["ledger"] if row["micro_batch"] < row["batch"]]
    assert len(squeezed) >= 2
    for row in facts["ledger"]:
        assert row["predicted_peak_bytes"] <= row["budget_bytes"]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "give --config"),
        (["--config", "nowhere.toml"], "cannot read config"),
        (["--config", DEMO, "--set", "pruning.densty=0.1"], "did you mean density"),
        (["--config", DEMO, "--resume", "runs/x"], "drop --config"),
        (["--resume", "runs/nowhere"], "cannot read config"),
        (["--config", DEMO, "--num-supernodes", "5"], "partitions"),
        (["--config", DEMO, "--set", "devices.fleet=['nrf52840']"], "is a run target"),
        (["--config", DEMO, "--set", "devices.fleet=['nrf5284']"], "unknown board"),
        (["--config", DEMO, "--backend-config", "{}"], "init_args"),
    ],
)
def test_wrong_input_ends_with_status_2_and_the_fix(
    arguments: list[str], words: str, tmp_path: Path
) -> None:
    result = runner.invoke(cli, [*arguments, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert words in " ".join(result.stderr.split())


def test_doctor_refuses_to_train_on_an_nrf52840_and_names_the_line() -> None:
    result = runner.invoke(fedtiny_cli, ["doctor", "--board", "nRF52840"])
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "is a run target and does not train" in text
    assert "largest ledger line is temporaries" in text
    result = runner.invoke(fedtiny_cli, ["doctor", "--board", "nRF52840", "--json"])
    (board,) = json.loads(result.stdout)["boards"]
    assert not board["training"]["possible"]
    assert board["run"]["possible"]


def test_fedtiny_on_a_folder_that_is_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["fedtiny", "export", str(tmp_path)])
    with pytest.raises(SystemExit) as stopped:
        fedtiny_main()
    assert stopped.value.code == 2
    assert "cannot read config" in capsys.readouterr().err
