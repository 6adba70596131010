"""What this machine has installed, without importing any of it."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

_PACKAGES = {
    "torch": ("training", "pip install 'fedtiny[train]'"),
    "flwr": ("federations", "pip install 'fedtiny[sim]'"),
    "ray": ("backend = 'ray'", "pip install 'fedtiny[sim]'"),
}
_PROGRAMS = {
    "gcc": ("compiling the exported C", "apt install gcc"),
    "make": ("compiling the exported C", "apt install make"),
    "arm-none-eabi-gcc": ("Cortex-M builds", "apt install gcc-arm-none-eabi"),
    "qemu-system-arm": ("running Cortex-M builds here", "apt install qemu-system-arm"),
}
_PYTHON = (3, 11)

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's ``dataset-fashion-mnist`` puts its four IDX files; plain or .gz will do."""

_FASHION_MNIST_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


@dataclass(frozen=True, slots=True)
class Check:
    """One finding.

    Attributes:
        name: of what was looked for.
        ok: whether it is there.
        detail: version, path, or what is missing.
        fix: the command that would put it right; empty if ok.
    """

    name: str
    ok: bool
    detail: str
    fix: str


def check_environment(fashion_mnist: Path = FASHION_MNIST) -> list[Check]:
    """Python, optional packages, programs and data sets, in that order.

    >>> check_environment()[0].name
    'python'
    """
    return [
        _check_python(sys.version_info[:3]),
        *(_check_package(name, use, fix) for name, (use, fix) in _PACKAGES.items()),
        *(_check_program(name, use, fix) for name, (use, fix) in _PROGRAMS.items()),
        _check_fashion_mnist(fashion_mnist),
    ]


def _check_python(version: tuple[int, ...]) -> Check:
    ok = version[:2] >= _PYTHON
    required = ".".join(map(str, _PYTHON))
    fix = "" if ok else f"install Python {required} or newer and run `make install` again"
    return Check("python", ok, ".".join(map(str, version)), fix)


def _check_package(name: str, use: str, fix: str) -> Check:
    if importlib.util.find_spec(name) is None:
        return Check(name, False, f"not installed; needed for {use}", fix)
    return Check(name, True, metadata.version(name), "")


def _check_program(name: str, use: str, fix: str) -> Check:
    path = shutil.which(name)
    if path is None:
        return Check(name, False, f"not found; needed for {use}", fix)
    return Check(name, True, path, "")


def _check_fashion_mnist(directory: Path) -> Check:
    missing = [
        name
        for name in _FASHION_MNIST_FILES
        if not ((directory / name).is_file() or (directory / f"{name}.gz").is_file())
    ]
    if missing:
        detail = f"{', '.join(missing)} not in {directory}; needed for the Fashion-MNIST config"
        return Check("fashion-mnist", False, detail, "apt install dataset-fashion-mnist")
    return Check("fashion-mnist", True, str(directory), "")
