"""What the operator is told of each device, the server as a service, wheels for the offline."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fedtiny.memory.ledger import LedgerEntry
from fedtiny.memory.step import StepPlan
from fedtiny.runs.events import DeviceDescribed, Metered
from fedtiny.runs.metrics import MetricsWriter
from fedtiny.wire.measured import Measured
from sims.deploy import admission, flower, job, superlink
from sims.deploy.cli import app
from sims.deploy.home import DeployError, Home
from sims.deploy.local import prepare
from sims.deploy.systemd import superlink_unit
from sims.deploy.wheels import requirements


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    """Of two approved nodes."""
    words = ["init", str(tmp_path / "fed"), "--host", "::1", "--nodes", "2", "--port", "18443"]
    run(words)
    home = Home(tmp_path / "fed")
    prepare(home, 2)
    capsys.readouterr()
    return home


def run(words: list[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        app(words)
    assert not ending.value.code


def ledger(peak: int | None) -> LedgerEntry:
    return LedgerEntry(1, "pi_zero_2_w", 32 << 20, 3 << 20, peak, 8, StepPlan(8), {})


def test_it_says_what_a_device_measured(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    home.results.mkdir()
    writer = MetricsWriter(home.results / "metrics.jsonl")
    pi = Measured("Raspberry Pi Zero 2 W", free_ram_bytes=200 << 20, temperature_c=61)
    writer.write(DeviceDescribed(0, 0, 9, None))
    writer.write(DeviceDescribed(0, 1, 9, ledger(None), pi))
    run(["status", str(home.path), "--json"])
    simulated, real = json.loads(capsys.readouterr().out)["nodes"]
    assert (simulated["temperature_c"], simulated["free_ram_bytes"]) == (None, None)
    assert (real["temperature_c"], real["free_ram_bytes"]) == (61, 200 << 20)
    assert (real["ledger_bytes"], real["peak_bytes"]) == (3 << 20, None)
    writer.write(Metered(1, 1, ledger(2 << 20)))
    writer.close()
    run(["status", str(home.path)])
    said = capsys.readouterr().out
    for part in ("200 MiB", "61", "2.00 MiB / 3.00 MiB", "never"):
        assert part in said


def test_before_the_first_run_it_knows_nothing(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    run(["status", str(home.path), "--json"])
    (node, _) = json.loads(capsys.readouterr().out)["nodes"]
    facts = ("hardware", "free_ram_bytes", "temperature_c", "ledger_bytes", "peak_bytes")
    assert [node[name] for name in facts] == ["", None, None, None, None]
    assert node["last_seen"] == "never"


def test_an_ipv6_host_is_one_everywhere(home: Home) -> None:
    settings = home.settings()
    assert (settings.address, settings.own_host) == ("[::1]:18443", "::1")
    assert superlink.bind_address(settings.host) == "::1"
    node = json.loads((home.bundles / "local-0/node.json").read_text(encoding="utf-8"))
    assert (node["host"], node["port"]) == ("::1", 18443)
    assert admission.job_of(home).data.partitions == 2


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_the_server_s_unit(tmp_path: Path) -> None:
    """Also of a folder whose name has what units give a meaning to."""
    run(["init", str(tmp_path / "a $HOME %i b"), "--host", "desk.local"])
    home = Home(tmp_path / "a $HOME %i b")
    assert home.superlink_unit.read_text(encoding="utf-8") == superlink_unit(home)
    assert analysed("verify", home.superlink_unit) == ""


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="systemd is not installed")
def test_systemd_takes_the_node_s_unit_and_finds_little_to_expose(
    home: Home, tmp_path: Path
) -> None:
    """``make guide-test`` boots it. Of ten points less is safer; without any of it: 9.5."""
    text = (home.bundles / "local-0/fedtiny-node.service").read_text(encoding="utf-8")
    unit = tmp_path / "fedtiny-node.service"
    unit.write_text(text.replace("=/opt/fedtiny/bin/fedtiny", "=/bin/true"), encoding="utf-8")
    assert analysed("verify", unit) == ""
    said = analysed("security", "--offline=true", "--threshold=30", unit)
    assert "Overall exposure level" in said


def analysed(*words: object) -> str:
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_wheels_that_pip_does_not_find_are_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """``make guide-test`` and ``make pi-test`` download and install them."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    with pytest.raises(SystemExit) as ending:
        app(["wheels", str(tmp_path / "wheels")])
    assert ending.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "pip could not download the packages for aarch64, Python 3.11" in said


def test_a_device_s_packages_are_those_it_installs() -> None:
    names = {re.split(r"[<>=\[;]", one)[0] for one in requirements()}
    assert {"numpy", "flwr", "cryptography", "hatchling"} <= names
    assert not names & {"torch", "ray", "pandas"}


@pytest.mark.parametrize(("later", "raises"), [("finished:failed", False), ("running", True)])
def test_a_stale_run_may_end_while_it_is_being_stopped(
    later: str, raises: bool, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    statuses = iter(["running", later])

    def refuse(*_: object) -> str:
        raise DeployError("[code: 18] Run is already finished.")

    listed = lambda *_: {"runs": [{"run-id": "7", "status": next(statuses)}]}  # noqa: E731
    monkeypatch.setattr(flower, "call", listed)
    monkeypatch.setattr(flower, "run", refuse)
    if raises:
        with pytest.raises(DeployError, match="already finished"):
            job._stop_stale(home)
    else:
        job._stop_stale(home)
