"""The C runtime compiled into a shared object for this host."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedtiny import toolchain

RUNTIME = Path(__file__).parents[2] / "firmware" / "runtime"
"""Directory of the C sources: ``include/``, ``src/``."""

STRICT_FLAGS = (
    *("-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Wdouble-promotion", "-pedantic"),
    "-Werror",
)
"""Every C file of the runtime compiles with these."""

COMPILE_TIMEOUT_S = 120.0


def compile_library(
    directory: Path, sources: Sequence[Path], flags: Sequence[str], name: str = "kernels"
) -> Path:
    """Compile C sources into the shared object ``directory/lib{name}.so``.

    Raises:
        ToolchainError: gcc is missing or rejects a source.
    """
    library = directory / f"lib{name}.so"
    command = ["gcc", "-fPIC", *flags]
    objects = toolchain.compile_objects(command, sources, directory, COMPILE_TIMEOUT_S)
    linked = [*command, "-shared", *map(str, objects), "-o", str(library)]
    toolchain.run_tool(linked, directory, COMPILE_TIMEOUT_S)
    return library


def compile_runtime(directory: Path) -> Path:
    """Compile the whole runtime, portable dense kernels included, for this host."""
    sources = sorted((RUNTIME / "src").rglob("*.c"))
    flags = [*STRICT_FLAGS, "-O2", f"-I{RUNTIME / 'include'}"]
    return compile_library(directory, sources, flags)
