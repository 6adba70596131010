"""Kernels compiled once for an emulated board, to be linked into many programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedtiny import toolchain
from fedtiny.boards import cmsis_nn, qemu
from fedtiny.boards.native.library import RUNTIME


@dataclass(frozen=True, slots=True)
class CompiledKernels:
    """Object files, and what a program that calls them must be compiled with."""

    objects: tuple[Path, ...]
    include: tuple[Path, ...]
    flags: tuple[str, ...]


def compile_portable(
    target: qemu.Machine, directory: Path, runtime: Path = RUNTIME
) -> CompiledKernels:
    """The sparse kernels and the portable dense ones.

    Args:
        target: the machine.
        directory: where objects go.
        runtime: with ``include`` and ``src``; an exported project has its own.
    """
    sources = [*_sparse(runtime), *sorted((runtime / "src" / "dense").glob("*.c"))]
    return _compile(target, directory, sources, (runtime / "include",), ())


def compile_with_cmsis_nn(
    target: qemu.Machine,
    directory: Path,
    library: cmsis_nn.CmsisNN | None = None,
    runtime: Path = RUNTIME,
) -> CompiledKernels:
    """Our sparse kernels and CMSIS-NN's dense ones.

    Args:
        target: the machine.
        directory: where objects go.
        library: CMSIS-NN; by default the wheel's.
        runtime: as for :func:`compile_portable`.

    Raises:
        FedTinyError: the wheel is to be used and is not installed.
    """
    library = library or cmsis_nn.wheel()
    sources = [*_sparse(runtime), *library.sources]
    include = (runtime / "include", *library.include)
    return _compile(target, directory, sources, include, library.flags)


def _sparse(runtime: Path) -> list[Path]:
    return sorted((runtime / "src").glob("*.[cS]"))


def _compile(
    target: qemu.Machine,
    directory: Path,
    sources: Sequence[Path],
    include: tuple[Path, ...],
    flags: tuple[str, ...],
) -> CompiledKernels:
    directory.mkdir(parents=True, exist_ok=True)
    command = [
        "arm-none-eabi-gcc",
        *("-std=gnu99", "-mthumb", *target.flags, "-O3"),
        *("-ffunction-sections", "-fdata-sections", *flags),
        *(f"-I{path}" for path in include),
    ]
    objects = toolchain.compile_objects(command, sources, directory, qemu.COMPILE_TIMEOUT_S)
    return CompiledKernels(tuple(objects), include, flags)
