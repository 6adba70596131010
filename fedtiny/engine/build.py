"""Compiles the kernels: one translation unit per instruction set, one shared library.

``python -m fedtiny.engine`` builds in place; the wheel's build hook loads this file by its path, so
it imports the standard library only.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = Path(__file__).parent / "src"

FLAGS = (
    "-std=c++17", "-O3", "-fPIC", "-fno-math-errno", "-ffp-contract=fast", "-pthread",
    "-Wall", "-Wextra", "-Wno-psabi",
)  # fmt: skip

_X86_SETS = {
    "baseline": ("-DFT_BYTES=16",),
    "avx2": ("-mavx2", "-mfma", "-DFT_BYTES=32"),
    "avx512": (
        "-mavx512f", "-mavx512dq", "-mavx512vl", "-mavx512bw", "-mavx2", "-mfma",
        "-mprefer-vector-width=512", "-DFT_BYTES=64",
    ),
}  # fmt: skip


class BuildError(Exception):
    """No compiler, or it failed; the message says which and what to do."""


LIBRARY = "_engine.so"
"""File name of the product library, beside this module."""


def source_hash() -> str:
    """Identifies sources and flags; compiled into the library, checked when it is loaded."""
    digest = hashlib.sha256(repr((FLAGS, _X86_SETS)).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def tool_environment() -> dict[str, str]:
    """What compilers, make and emulators see of this process's environment: nearly nothing.

    ``BUILD``, ``MAKEFLAGS``, ``CFLAGS``, ``CPATH``, ``GCC_EXEC_PREFIX`` and their like change what
    is built; users set them for work of their own.
    """
    kept = ("PATH", "HOME", "LD_LIBRARY_PATH")  # to find and start a tool, and a cache beside it
    found = {name: os.environ[name] for name in kept if name in os.environ}
    return {**found, "TMPDIR": tempfile.gettempdir(), "LC_ALL": "C"}


def compiler() -> str | None:
    """The C++ compiler: ``$CXX``, else the first of c++, g++, clang++ on the path."""
    names = [os.environ["CXX"]] if os.environ.get("CXX") else ["c++", "g++", "clang++"]
    return next((name for name in names if shutil.which(name.split()[0])), None)


def instruction_sets(machine: str | None = None) -> dict[str, tuple[str, ...]]:
    """Compiler flags by instruction set for ``machine`` (default: this one)."""
    if (machine or platform.machine()).lower() in ("x86_64", "amd64"):
        return _X86_SETS
    return {"baseline": ("-DFT_BYTES=16",)}


def build(
    target: Path | None = None,
    real: str = "float",
    extra: tuple[str, ...] = (),
    machine: str | None = None,
    program: str | None = None,
) -> Path:
    """Compile the library.

    Args:
        target: the file to write; default: beside this module.
        real: ``"float"`` or ``"double"``.
        extra: more compiler and linker flags, e.g. sanitizers.
        machine: the target's machine name where the compiler is a cross compiler.
        program: the compiler; default: :func:`compiler`'s.

    Raises:
        BuildError: there is no C++ compiler, or it rejected the sources.
    """
    program = program or compiler()
    if program is None:
        raise BuildError("no C++ compiler found; install g++ or clang++, or set CXX")
    target = target or Path(__file__).parent / LIBRARY
    sets = instruction_sets(machine)
    common = [*program.split(), *FLAGS, f"-DFT_REAL={real}", *extra]
    with tempfile.TemporaryDirectory() as folder:
        units = [
            (SOURCES / "kernels.cpp", Path(folder) / f"{name}.o", (*flags, f"-DFT_ENTRY={name}"))
            for name, flags in sets.items()
        ]
        defines = [f'-DFT_SOURCE_HASH="{source_hash()}"', *(["-DFT_X86"] if len(sets) > 1 else [])]
        units.append((SOURCES / "dispatch.cpp", Path(folder) / "dispatch.o", tuple(defines)))
        with ThreadPoolExecutor(os.cpu_count()) as workers:
            list(workers.map(lambda unit: _compile(common, *unit), units))
        linked = Path(folder) / target.name
        objects = [str(unit[1]) for unit in units]
        _run([*common, "-shared", *objects, "-o", str(linked)])
        _replace(linked, target)
    return target


def built() -> Path:
    """The product library, compiled unless it is there already, of these very sources.

    Raises:
        BuildError: as :func:`build`.
    """
    library = Path(__file__).parent / LIBRARY
    if library.exists() and source_hash().encode() in library.read_bytes():
        return library
    return build()


def _compile(common: list[str], source: Path, out: Path, flags: tuple[str, ...]) -> None:
    _run([*common, *flags, "-c", str(source), "-o", str(out)])


def _run(command: list[str]) -> None:
    result = subprocess.run(
        command,
        env=tool_environment(),
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if result.returncode:
        raise BuildError(f"{' '.join(command)}\n{result.stderr}")


def _replace(source: Path, target: Path) -> None:
    # A process may have the old library mapped: put the new file in its place, never write into it.
    beside = target.with_name(f".{target.name}.{os.getpid()}")
    shutil.copy2(source, beside)
    beside.replace(target)
