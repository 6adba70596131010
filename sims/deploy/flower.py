"""The ``flwr`` command, pointed at a deployment's SuperLink."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tomli_w

from fedtiny.node.address import host_and_port
from sims.deploy.home import DeployError, Home
from sims.flower_run import SWITCHES

LINK = "deployment"
_TIMEOUT_S = 60.0


def environment(home: Home) -> dict[str, str]:
    """Of every Flower process of the deployment, beside this process's own."""
    programs = Path(sys.executable).parent
    return {
        **SWITCHES,
        "FLWR_HOME": str(home.flower_home.resolve()),
        "PATH": f"{programs}{os.pathsep}{os.environ.get('PATH', '')}",
        "PYTHONUNBUFFERED": "1",
    }


def write_link(home: Home) -> None:
    """Tell ``flwr`` where the SuperLink is and which authority it trusts."""
    home.flower_home.mkdir(parents=True, exist_ok=True)
    settings = home.settings()
    link = {
        "address": host_and_port(settings.own_host, settings.port),
        "root-certificates": str(home.ca_certificate.resolve()),
    }
    text = tomli_w.dumps({"superlink": {"default": LINK, LINK: link}})
    (home.flower_home / "config.toml").write_text(text, encoding="utf-8")


def call(home: Home, *arguments: str) -> dict[str, Any]:
    """Run ``flwr ARGUMENTS --format json``; what it printed.

    Raises:
        DeployError: it failed, with its own words.
    """
    return parse(run(home, [*arguments, "--format", "json"]), arguments)


def run(home: Home, arguments: Sequence[str], timeout_s: float = _TIMEOUT_S) -> str:
    """Run ``flwr ARGUMENTS``; its output. Errors as :func:`call`."""
    command = [str(Path(sys.executable).with_name("flwr")), *arguments]
    try:
        done = subprocess.run(
            command,
            env={**os.environ, **environment(home)},
            cwd=home.path,
            encoding="utf-8",
            errors="replace",
            capture_output=True,
            timeout=timeout_s,
            check=False,
        )
    except FileNotFoundError as error:
        raise DeployError(
            f"{command[0]} is not there: install Flower into this environment, "
            "pip install 'fedtiny[client]'"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise DeployError(
            f"the SuperLink did not answer `flwr {arguments[0]}` within {timeout_s:.0f} s"
        ) from error
    if done.returncode:
        raise DeployError(f"`flwr {' '.join(arguments[:2])}` failed: {_words(done)}")
    return done.stdout


def parse(text: str, arguments: Sequence[str]) -> dict[str, Any]:
    """The JSON in what ``flwr`` printed.

    Raises:
        DeployError: there is none, or it says that the command failed.
    """
    if "{" not in text:
        raise DeployError(f"`flwr {' '.join(arguments[:2])}` answered: {text.strip()[-500:]}")
    tree: dict[str, Any] = json.loads(text[text.index("{") :])
    if tree.get("success") is False:
        raise DeployError(
            f"`flwr {' '.join(arguments[:2])}` failed: {tree.get('error-message', tree)}"
        )
    return tree


def _words(done: subprocess.CompletedProcess[str]) -> str:
    text = re.sub(r"\x1b\[[0-9;]*m", "", f"{done.stdout}\n{done.stderr}").strip()
    return text[-1500:] or f"status {done.returncode}"
