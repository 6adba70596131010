"""A run is what its folder says: one name, one process, one config, one set of samples."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fedtiny import models
from fedtiny.config import RunConfig, load, parse
from fedtiny.errors import FedTinyError
from fedtiny.runs import identity, lock
from fedtiny.runs.claim import claim
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.identity import Identity, IdentityError, Part
from fedtiny.runs.lock import LockedError
from fedtiny.settings import ConfigError
from sims.launch import cli

ROOT = Path(__file__).parents[1]
TINY_RUN = """
[data]
source = "npz"
path = "d/x.npz"
partitions = 3
[model]
module = "own_model"
name = "own"
[federation]
rounds = 3
[training]
epochs = 1
[pretraining]
epochs = 1
[pruning]
method = "magnitude"
density = 0.5
[export]
enabled = false
"""
OWN_MODEL = """
from fedtiny.models import register
from fedtiny.models.graph import Graph
from fedtiny.models.zoo.smartwatch_cnn import smartwatch_cnn

def own(shape, classes):
    return smartwatch_cnn(shape, classes, width=2)

register("own", own)
"""


def write_samples(path: Path, seed: int) -> None:
    generator = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    y = np.arange(150) % 2
    x = generator.integers(0, 100, (150, 2, 1, 32)) + 40 * y[:, None, None, None]
    np.savez(path, x=x.astype(np.int16), y=y, owner=np.arange(150) % 5)


@pytest.mark.parametrize(
    "name",
    ["../x", "a/b", "/etc", "a\\b", "", ".", "..", "a\nb", "a\0b", " a", "a ", "\ud800", "ä" * 101,
     "x" * 201, "tab\there", "\u2028"],
)  # fmt: skip
def test_a_name_is_no_path(name: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name"):
        parse({"name": name})
    with pytest.raises(FedTinyError, match="name"), claim(tmp_path / "out", name):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name", ["_b04", "$a_$", "网络 v2", "-x", "%d", "a" * 200, "…", "a:b", "CON"]
)
def test_a_name_may_be_odd(name: str, tmp_path: Path) -> None:
    assert parse({"name": name}).name == name
    with claim(tmp_path, name) as (folder, _):
        assert folder.path.parent == tmp_path


def finish(folder: RunFolder, mark: str) -> None:
    folder.create(RunConfig())
    (folder.path / "mark").write_text(mark, encoding="utf-8")


def test_an_earlier_run_is_moved_aside(tmp_path: Path) -> None:
    for mark, expected in (("1", None), ("2", "demo.1"), ("3", "demo.2")):
        with claim(tmp_path, "demo") as (folder, aside):
            assert aside == (expected and tmp_path / expected)
            assert [one.name for one in folder.path.iterdir()] == ["lock"]
            finish(folder, mark)
    found = {one.name: (one / "mark").read_text(encoding="utf-8") for one in tmp_path.iterdir()}
    assert found == {"demo": "3", "demo.1": "1", "demo.2": "2"}


def test_what_is_no_run_is_never_moved(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "thesis.tex").touch()
    (tmp_path / "file").touch()
    (tmp_path / "elsewhere").mkdir()
    finish(RunFolder(tmp_path / "elsewhere"), "1")
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to(tmp_path / "elsewhere")
    (out / "dangling").symlink_to(tmp_path / "nowhere")
    before = sorted(tmp_path.rglob("*"))
    for folder, name in (
        (tmp_path, "theirs"),
        (tmp_path, "file"),
        (out, "link"),
        (out, "dangling"),
        (tmp_path / "file", "x"),
        (Path("/proc/nowhere"), "x"),
        (Path("/proc"), "x"),
    ):
        with pytest.raises(FedTinyError, match="choose another"), claim(folder, name):
            pass
    assert sorted(tmp_path.rglob("*")) == before


HOLD = """
import sys, time
from pathlib import Path
from fedtiny.runs.claim import claim
with claim(Path(sys.argv[1]), "demo") as (folder, _):
    (folder.path / "config.toml").touch()
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_lock_ends_with_its_process(tmp_path: Path) -> None:
    """The second launch is told who is at work; after kill -9 nobody is."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        folder = RunFolder(tmp_path / "demo")
        words = rf"demo is in use: a run since \d.*, process {holder.pid} on "
        with pytest.raises(LockedError, match=words), claim(tmp_path, "demo"):
            pass
        with pytest.raises(LockedError, match=words), folder.locked("a resumed run"):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    with folder.locked("a resumed run"):
        pass
    with claim(tmp_path, "demo") as (_, aside):
        assert aside == tmp_path / "demo.1"


def test_many_at_once_get_a_folder_or_are_refused(tmp_path: Path) -> None:
    """No result is mixed or lost: each that came through left its mark in a folder of its own."""
    came: list[str] = []

    def launch(number: int) -> None:
        try:
            with claim(tmp_path, "demo") as (folder, _):
                assert [one.name for one in folder.path.iterdir()] == ["lock"]
                finish(folder, str(number))
                came.append(str(number))
        except LockedError:
            pass

    threads = [threading.Thread(target=launch, args=(k,)) for k in range(24)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    marks = [(one / "mark").read_text(encoding="utf-8") for one in tmp_path.iterdir()]
    assert sorted(marks) == sorted(came)
    assert came


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_a_sentence(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(file: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(lock.fcntl, "flock", refuse)
    with pytest.raises(LockedError, match="local disk with --out"), claim(tmp_path, "demo"):
        pass


class Shell:
    """A user in a folder, with a model of one's own beside the data."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._patch = monkeypatch
        self.output = ""

    def go(self, cwd: Path, *arguments: str) -> int:
        cwd.mkdir(exist_ok=True)
        self._patch.chdir(cwd)
        done = CliRunner().invoke(cli, ["--backend", "inline", "--no-preflight", *arguments])
        self.output = " ".join(done.output.split())
        return done.exit_code


@pytest.fixture(scope="module", autouse=True)
def _no_pictures() -> Iterator[None]:
    """They take most of a run's time, and have tests of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("fedtiny.report.plots.plot_run", lambda run, folder: {})
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunFolder]:
    """A run of a relative path, with a model of the user's own."""
    here = tmp_path_factory.mktemp("here")
    write_samples(here / "d/x.npz", 0)
    (here / "own_model.py").write_text(OWN_MODEL, encoding="utf-8")
    (here / "run.toml").write_text(TINY_RUN, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(here)
        one = Shell(patch)
        assert one.go(here, "--config", "run.toml") == 0, one.output
        yield RunFolder(here / "runs/run")
        sys.modules.pop("own_model", None)
        models._REGISTRY.pop("own")


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(monkeypatch)


@pytest.fixture
def folder(finished: RunFolder, tmp_path: Path) -> RunFolder:
    """A copy of the finished run's folder."""
    return RunFolder(Path(shutil.copytree(finished.path, tmp_path / "run")))


def cut_short(folder: RunFolder) -> None:
    """As a run that was killed in its last round."""
    for one in (*folder.path.glob("model.s*"), *folder.checkpoints.glob("*00003.*")):
        one.unlink()
    record = identity.load(folder)
    assert record is not None
    replace(record, model="").save(folder)


def test_a_run_goes_on_from_anywhere_over_the_same_samples_only(
    shell: Shell, folder: RunFolder, finished: RunFolder, tmp_path: Path
) -> None:
    left = finished.model.read_bytes()
    cut_short(folder)
    assert shell.go(tmp_path / "elsewhere", "--resume", str(folder.path)) == 0, shell.output
    assert folder.model.read_bytes() == left

    cut_short(folder)
    shares = {path.name: path.read_bytes() for path in folder.data.iterdir()}
    samples = finished.path.parents[1] / "d/x.npz"
    write_samples(samples, 1)
    assert shell.go(tmp_path / "elsewhere", "--resume", str(folder.path)) == 2
    assert "the samples are others" in shell.output
    assert "--accept data" in shell.output
    assert {path.name: path.read_bytes() for path in folder.data.iterdir()} == shares
    assert shell.go(tmp_path, "--resume", str(folder.path), "--accept", "data") == 0, shell.output
    record = identity.load(folder)
    assert record is not None
    assert "the samples are others" in record.accepted[0]
    assert {path.name: path.read_bytes() for path in folder.data.iterdir()} != shares
    write_samples(samples, 0)


EDITS: dict[Part, Callable[[RunFolder], object]] = {
    Part.CODE: lambda folder: edit_record(folder, code={"fedtiny": "0" * 64}),
    Part.DATA: lambda folder: edit_record(folder, data="0" * 64),
    Part.CONFIG: lambda folder: folder.config.write_text(
        folder.config.read_text(encoding="utf-8").replace("rounds = 3", "rounds = 4"),
        encoding="utf-8",
    ),
    Part.MODEL: lambda folder: (
        folder.model.write_bytes((folder.checkpoints / "round-00003.safetensors").read_bytes()),
        folder.model.with_name("model.safetensors.sha256").unlink(),
    ),
}


def edit_record(folder: RunFolder, **changes: object) -> None:
    record = identity.load(folder)
    assert record is not None
    replace(record, **changes).save(folder)  # type: ignore[arg-type]


@pytest.mark.parametrize("part", Part)
def test_whatever_changed_is_named_and_may_be_accepted(
    part: Part, shell: Shell, folder: RunFolder
) -> None:
    from fedtiny.export.run import export_run
    from fedtiny.report import write

    EDITS[part](folder)
    for step in (
        lambda: export_run(folder, check=False),
        lambda: write(folder),
    ):
        with pytest.raises(IdentityError, match=f"--accept {part}"):
            step()
    assert not folder.firmware.exists()
    if part is not Part.MODEL:  # which has no labels, for it is no model
        write(folder, [part])
    if part is Part.MODEL:  # a run that is resumed trains one
        return
    cut_short(folder)
    assert shell.go(folder.path, "--resume", ".") == 2
    if part is Part.CONFIG:  # which no flag makes right: the message offers none
        assert shell.go(folder.path, "--resume", ".", "--accept", "config") == 2
        assert "Restore config.toml, or start a new run" in shell.output
    else:
        assert f"--accept {part}" in shell.output


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "{}", '{"format": 2}', '{"format": 1}', "null", "\xff"]
)
def test_a_damaged_record_is_a_sentence(text: str, tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.identity.write_bytes(text.encode("latin1"))
    with pytest.raises(IdentityError, match=r"run\.json"):
        identity.load(folder)


def test_a_file_of_the_users_that_changed_is_code(tmp_path: Path) -> None:
    catalog = tmp_path / "boards.toml"
    catalog.write_text("", encoding="utf-8")
    config = parse({"devices": {"catalog": str(catalog)}})
    folder = RunFolder(tmp_path / "run")
    folder.create(config)
    Identity.of(config, "d", "inline").save(folder)
    identity.verify(folder)
    catalog.write_text("#\n", encoding="utf-8")
    with pytest.raises(IdentityError, match=r"devices\.catalog .*boards\.toml"):
        identity.verify(folder)


def test_a_run_of_an_older_fedtiny_is_not_resumed_blindly(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.create(RunConfig())
    folder.checkpoints.mkdir()
    (folder.checkpoints / "round-00001.safetensors").touch()
    with pytest.raises(IdentityError, match=r"no run\.json"):
        identity.begin(folder, Identity.of(RunConfig(), "d", "inline"), resume=True)


def test_a_record_says_what_it_must(finished: RunFolder) -> None:
    folder = finished
    record = json.loads(folder.identity.read_text(encoding="utf-8"))
    here = folder.path.parents[1]
    assert record["data_path"] == str(here / "d/x.npz")
    assert record["own"]["model.module"]["path"] == str(here / "own_model.py")
    assert set(record["code"]) == {"fedtiny", "clients", "strategies", "sims"}
    assert all(len(record[key]) == 64 for key in ("data", "config", "model"))
    assert load(folder.config).data.path == here / "d/x.npz"
