"""An exported codec on an emulated board: codes, blocks, and executed instructions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedtiny.boards import qemu
from fedtiny.boards.kernels import CompiledKernels
from fedtiny.codecs.exporting import FOLDER
from fedtiny.errors import FedTinyError

PROGRAM = Path(__file__).parent / "programs" / "encode.c"


@dataclass(frozen=True, slots=True)
class Encoded:
    """One picture.

    Attributes:
        size, crc16: of the whole code.
        blocks, blocks_crc16: of the blocks of message 5, one after the other.
        maps: that the board's own decoder finds in the code.
        encoder_instructions: a table's look-up for every pixel, and the network.
        coder_instructions: the network's output to the code.
    """

    size: int
    crc16: int
    blocks: int
    blocks_crc16: int
    maps: int
    encoder_instructions: int
    coder_instructions: int


def encode(
    target: qemu.Machine,
    project: Path,
    x: np.ndarray,
    kernels: CompiledKernels,
    directory: Path,
) -> tuple[Encoded, ...]:
    """Each picture of uint8 (N, C, H, W), N ≤ 64, as the board encodes it.

    Args:
        target: the machine the kernels are compiled for.
        project: of :func:`fedtiny.codecs.exporting.export_codec`.
        x: pictures.
        kernels: the runtime.
        directory: where files go.

    Raises:
        ToolchainError: the build fails or the program faults.
        FedTinyError: it printed something else than results.
    """
    directory.mkdir(parents=True, exist_ok=True)
    own = [project / "model.c", project / "model_weights.c"]
    program = qemu.build(
        target,
        [PROGRAM, *own, *sorted((project / FOLDER).glob("*.c")), *kernels.objects],
        directory,
        include=(project, project / FOLDER, *kernels.include),
        flags=("-std=gnu99", "-DFEDTINY_BOARD", *kernels.flags),
    )
    (directory / "pictures.bin").write_bytes(x.transpose(0, 2, 3, 1).tobytes())
    lines = qemu.run(target, program, directory).splitlines()
    if len(lines) != len(x):
        raise FedTinyError(f"the board encoded {len(lines)} of {len(x)} pictures:\n{lines}")
    return tuple(_encoded(line, target.tick_ns) for line in lines)


def _encoded(line: str, tick_ns: float) -> Encoded:
    size, crc, blocks, blocks_crc, maps, encoder, coder = map(int, line.split())
    instructions = (round(ticks * tick_ns) for ticks in (encoder, coder))
    return Encoded(size, crc, blocks, blocks_crc, maps, *instructions)
