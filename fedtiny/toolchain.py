"""Finding compilers, and saying how to install the missing ones."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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


def compile_objects(
    command: Sequence[str], sources: Sequence[Path], directory: Path, timeout_s: float
) -> list[Path]:
    """Compile each source by itself, as many at a time as there are cores.

    Args:
        command: the compiler and its flags.
        sources: C and assembly files whose names differ.
        directory: where the objects go, each named by its source.
        timeout_s: for each.

    Returns:
        The objects, in the sources' order.

    Raises:
        ToolchainError: the compiler is missing or rejects a source.
    """
    objects = [directory / f"{source.stem}.o" for source in sources]
    if len(set(objects)) != len(sources):
        raise ToolchainError(f"two sources for {directory} have one name")

    def compile_one(source: Path, target: Path) -> None:
        run_tool([*command, "-c", str(source), "-o", str(target)], directory, timeout_s)

    with ThreadPoolExecutor(os.cpu_count()) as workers:
        list(workers.map(compile_one, sources, objects))
    return objects
