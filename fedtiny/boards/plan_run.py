"""A plan executed on an emulated board, without writing a whole project first."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from fedtiny.boards import emulated, qemu
from fedtiny.boards.cortex_m4 import CortexM4
from fedtiny.boards.kernels import CompiledKernels
from fedtiny.firmware.emit import constant_arrays, sources
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.plan import ExportPlan
from fedtiny.firmware.text import Array


def run(
    plan: ExportPlan,
    target: qemu.Machine,
    kernels: CompiledKernels,
    vectors: bytes,
    directory: Path,
    timing: CortexM4 | None = None,
) -> emulated.Emulation:
    """Build the plan's self-test with ``kernels`` and run it.

    Args:
        plan: the model and how it is computed.
        target: the machine the kernels are compiled for.
        kernels: the runtime.
        vectors: of the plan's model, see :func:`fedtiny.firmware.vectors.vector_file`.
        directory: where files go.
        timing: models cycles, for a machine with that core.

    Raises:
        ToolchainError: the build fails or the program faults.
    """
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in sources(plan, SensorInterface.numbered(plan.model, "counts")).items():
        (directory / name).write_text(text, encoding="utf-8")
    (directory / "vectors.bin").write_bytes(vectors)
    weights = write_weights(constant_arrays(plan), directory)
    program = emulated.build(target, directory, directory, kernels=kernels, weights=weights)
    names = [step.node.name for step in plan.steps]
    return emulated.run(target, program, directory, names, timing=timing)


def write_weights(
    arrays: Sequence[Array], directory: Path, section: str = ".external_data"
) -> Path:
    """The arrays as an assembly source that includes a binary file.

    It takes the place of ``model_weights.c``: millions of literals take a compiler minutes.
    """
    lines, blob = [f'.section {section},"a"'], bytearray()
    for array in arrays:
        blob += bytes(-len(blob) % 8)
        lines += [
            f".balign 8\n.global {array.name}\n{array.name}:",
            f'.incbin "{directory / "weights.bin"}", {len(blob)}, {array.nbytes}',
            f".size {array.name}, {array.nbytes}",
        ]
        blob += array.data
    (directory / "weights.bin").write_bytes(blob)
    source = directory / "weights.S"
    source.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return source
