"""What a whole program around an exported model takes of a board."""

from __future__ import annotations

from pathlib import Path

from fedtiny.boards import elf, qemu
from fedtiny.boards.kernels import CompiledKernels

PROGRAM = Path(__file__).parent / "programs" / "image.c"


def image_sizes(
    target: qemu.Machine,
    firmware: Path,
    directory: Path,
    *,
    kernels: CompiledKernels,
    flags: tuple[str, ...] = (),
) -> elf.ElfSizes:
    """Link a program that does nothing but classify, and measure it.

    Start-up code, the kernels it calls, weights, the arena and a window of counts are all in; an
    operating system, a sensor's driver and the stack are not.

    Args:
        target: the machine.
        firmware: an exported project.
        directory: where the program goes.
        kernels: compiled for the machine.
        flags: of the compiler, besides the machine's and the kernels'.

    Raises:
        ToolchainError: the compiler is missing or rejects a source.
    """
    directory.mkdir(parents=True, exist_ok=True)
    program = qemu.build(
        target,
        [PROGRAM, firmware / "model.c", firmware / "model_weights.c", *kernels.objects],
        directory,
        include=(firmware, *kernels.include),
        flags=("-std=gnu99", *flags, *kernels.flags),
    )
    return elf.sizes([program])
