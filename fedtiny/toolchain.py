"""Finding compilers, and saying how to install the missing ones."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from fedtiny.engine.build import tool_environment
from fedtiny.errors import FedTinyError

INSTALL = {
    "gcc": "apt-get install -y gcc libc6-dev",
    "make": "apt-get install -y make",
    "arm-none-eabi-gcc": (
        "apt-get install -y --no-install-recommends gcc-arm-none-eabi libnewlib-arm-none-eabi"
    ),
    "qemu-system-arm": "apt-get install -y --no-install-recommends qemu-system-arm",
}
"""Command that installs each tool on Debian and Ubuntu."""


class ToolchainError(FedTinyError):
    """A tool is missing or failed; the message holds the install line or the tool's output."""


def require(tool: str) -> Path:
    """Path of ``tool`` on this machine.

    Raises:
        ToolchainError: it is not on the PATH; the message names the command that installs it.
    """
    found = shutil.which(tool)
    if found is None:
        hint = INSTALL.get(tool)
        install = f"install it with: {hint}" if hint else "install it"
        raise ToolchainError(f"{tool} was not found on the PATH; {install}")
    return Path(found)


def run_tool(
    command: Sequence[str], cwd: Path, timeout_s: float, allowed: Sequence[int] = (0,)
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` in ``cwd``, its tool found by :func:`require`; output is captured.

    Raises:
        ToolchainError: the tool is missing, takes longer than ``timeout_s``, or exits with a
            status not in ``allowed``; the message ends with the tool's last lines.
    """
    line = " ".join(command)
    try:
        done = subprocess.run(
            [str(require(command[0])), *command[1:]],
            cwd=cwd,
            env=tool_environment(),
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
        )
    except subprocess.TimeoutExpired as expired:
        raise ToolchainError(f"`{line}` took longer than {timeout_s:g} s in {cwd}") from expired
    if done.returncode not in allowed:
        tail = "\n".join((done.stdout + done.stderr).splitlines()[-30:])
        raise ToolchainError(f"`{line}` failed in {cwd} (exit {done.returncode}):\n{tail}")
    return done
