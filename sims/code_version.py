"""The version of the code, for people: a commit where there is git, else FedTiny's version."""

from __future__ import annotations

import subprocess
from pathlib import Path

import fedtiny

_ROOT = Path(__file__).resolve().parents[1]
_CODE = ("fedtiny", "clients", "strategies", "sims", "constraints.txt")


def code_version() -> str:
    """Commit that last changed code, ``-dirty`` with changes since; FedTiny's without git."""
    found = _git("log", "-1", "--format=%h", "--abbrev=10")
    if not found:
        return fedtiny.__version__
    return found + ("-dirty" if _git("status", "--porcelain") else "")


def _git(*arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", *arguments, "--", *_CODE],
            cwd=_ROOT,
            check=True,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
