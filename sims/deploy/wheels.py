"""The packages that a device needs, as files: for devices that reach no package index."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from fedtiny.text_files import read_toml
from sims.deploy.home import DeployError
from sims.flower_run import APP


class Machine(StrEnum):
    """Processors for which there are wheels of everything."""

    AARCH64 = "aarch64"
    """64-bit Raspberry Pis."""
    X86_64 = "x86_64"


_GLIBC = range(28, 16, -1)
"""Minor versions of the C library 2.x that wheels are made for: those that a device has."""

_TAIL = 1500


def requirements() -> list[str]:
    """What the client installs, and what builds it on the device."""
    project = read_toml(APP / "pyproject.toml")
    needs = project["project"]
    return [
        *needs["dependencies"],
        *needs["optional-dependencies"]["client"],
        *project["build-system"]["requires"],
    ]


def download(folder: Path, machine: Machine, python: str) -> list[Path]:
    """Download the wheels of every package, at the pinned versions, into ``folder``.

    Args:
        folder: made if need be; what it holds stays.
        machine: of the devices, as ``uname -m`` says.
        python: their Python's version, e.g. ``"3.11"``.

    Returns:
        The files.

    Raises:
        DeployError: pip found no wheel, or no index; ends with its own words.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [*_command(folder, machine, python), *requirements()],
        cwd=APP,
        encoding="utf-8",
        errors="replace",
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise DeployError(
            f"pip could not download the packages for {machine}, Python {python}: "
            f"{done.stderr.strip()[-_TAIL:]}"
        )
    return sorted(folder.glob("*.whl"))


def _command(folder: Path, machine: Machine, python: str) -> Sequence[str]:
    names = [*(f"manylinux_2_{minor}" for minor in _GLIBC), "manylinux2014", "manylinux1"]
    platforms = [word for name in names for word in ("--platform", f"{name}_{machine}")]
    return [
        *(sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"),
        *("--dest", str(folder.resolve()), "--constraint", "constraints.txt"),
        *("--only-binary", ":all:", *platforms),
        *("--implementation", "cp", "--python-version", python),
    ]
