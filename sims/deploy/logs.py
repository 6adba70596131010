"""The logs of a deployment's processes."""

from __future__ import annotations

import re
from collections import deque
from pathlib import Path

from sims.deploy import processes
from sims.deploy.home import DeployError, Home

_COLOUR = re.compile(r"\x1b\[[\d;]*m")


def tail(home: Home, name: str, lines: int) -> list[str]:
    """The last lines of what a process printed, without their colours.

    Args:
        home: of the deployment.
        name: of a local node, ``superlink`` or ``run``.
        lines: at most.

    Raises:
        DeployError: there is no such log here; where a device's own log is.
    """
    path: Path = processes.log_file(home, name)
    if not path.is_file():
        there = ", ".join(sorted(one.stem for one in home.logs.glob("*.log"))) or "none"
        raise DeployError(
            f"no log of {name!r} on this machine (there are: {there}); a device keeps its own: "
            "journalctl -u fedtiny-node"
        )
    with path.open(encoding="utf-8", errors="replace") as file:
        return [_COLOUR.sub("", line.rstrip("\n")) for line in deque(file, maxlen=lines)]
