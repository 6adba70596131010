"""What a shell happens to hold decides nothing: a run's bytes are those of a clean one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flwr")

ROOT = Path(__file__).parents[1]

RUN = """
name = "same"
[data]
source = "npz"
path = "{path}"
partitions = 3
[model]
name = "smartwatch_cnn@1"
[federation]
rounds = 1
clients_per_round = 1
[training]
epochs = 1
engine = "sparse"
[pretraining]
epochs = 1
[pruning]
candidates = 1
density = 0.5
"""

HOSTILE = {
    "MPLBACKEND": "module://nowhere",
    "BUILD": "release",
    "MAKEFLAGS": "-n",
    "CFLAGS": "-O0 -DMODEL_INPUT_VALUES=1",
    "CPPFLAGS": "-include /nonexistent.h",
    "LDFLAGS": "-lnowhere",
    "CPATH": "/nonexistent",
    "CC": "false",
    "CXX": "false",
    "PYTHONHASHSEED": "77",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "7",
    "COLUMNS": "20",
    "TERM": "dumb",
    "NO_COLOR": "1",
    "LC_ALL": "C",
    "TZ": "Pacific/Kiritimati",
    "GIT_DIR": "/nonexistent",
    "GIT_WORK_TREE": "/nonexistent",
    "PAGER": "false",
    "FLWR_HOME": "/nonexistent",
}


def write_samples(path: Path) -> None:
    generator, y = np.random.default_rng(0), np.arange(100) % 2
    x = generator.integers(0, 100, (100, 1, 1, 16)) + 40 * y[:, None, None, None]
    np.savez(path, x=x.astype(np.int16), y=y, owner=np.arange(100) // 2 % 5)


def own_folders(place: Path) -> None:
    """Packages of the user's that are called as ours, and modules that others import."""
    for name in ("clients", "strategies", "sims", "tests"):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").write_text("raise SystemExit('not ours')", encoding="utf-8")


def launch(place: Path, config: Path, changes: dict[str, str]) -> subprocess.Popen[str]:
    """A run in ``place``, with nothing but ``changes`` beside a short, plain environment."""
    plain = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    program = "import sys; sys.path.remove(''); from sims.launch import cli; cli()"
    options = ["--config", str(config), "--backend", "inline", "--no-preflight", "--json"]
    return subprocess.Popen(
        [sys.executable, "-c", program, *options],
        cwd=place,
        env={**plain, **changes},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )


def bundle(run: Path) -> dict[str, bytes]:
    """The model, and every file of its C project that people take along."""
    found = {str(p.relative_to(run)): p.read_bytes() for p in run.rglob("firmware/**/*")
             if p.is_file() and "build" not in p.relative_to(run).parts}  # fmt: skip
    return found | {"model": (run / "model.safetensors").read_bytes()}


@pytest.mark.deploy
def test_a_hostile_environment_gives_the_bytes_of_a_clean_one(tmp_path: Path) -> None:
    write_samples(tmp_path / "x.npz")
    config = tmp_path / "run.toml"
    config.write_text(RUN.format(path=tmp_path / "x.npz"), encoding="utf-8")
    clean, dirty = tmp_path / "clean", tmp_path / "dirty"
    clean.mkdir()
    own_folders(dirty)
    long = tmp_path / "/".join(["a_long_name_of_a_scratch_folder"] * 4)
    long.mkdir(parents=True)
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\n", encoding="utf-8")
    files = {"TMPDIR": str(long), "MATPLOTLIBRC": str(tmp_path / "matplotlibrc")}
    # One after the other: each has all cores, which is not what differs.
    for place, changes in ((clean, {"HOME": str(tmp_path)}), (dirty, {**HOSTILE, **files})):
        process = launch(place, config, changes)
        out, error = process.communicate()
        assert process.returncode == 0, error
        assert json.loads(out)["firmware"], out
    assert "firmware/model.c" in bundle(clean / "runs/same")
    assert bundle(dirty / "runs/same") == bundle(clean / "runs/same")
