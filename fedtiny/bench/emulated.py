"""The engine on another architecture: compiled for AArch64, run under QEMU, instructions counted.

No AArch64 Python is needed: a training step's memory, prepared here, is handed to an emulated
process (``engine_emulated.cpp``) that makes the library's call on it and hands it back.
"""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedtiny import toolchain
from fedtiny.boards.blocks import compiled_plugin, executed, plugin_options
from fedtiny.engine import Executor, abi
from fedtiny.engine.build import build, tool_environment
from fedtiny.engine.library import Library
from fedtiny.errors import FedTinyError

COMPILER, EMULATOR = "aarch64-linux-gnu-g++", "qemu-aarch64"
SYSROOT = "/usr/aarch64-linux-gnu"
DRIVER = Path(__file__).with_name("engine_emulated.cpp")
BASE = 1 << 37
"""Where the emulated process maps the memory; nothing else is there."""

_TIMEOUT_S = 240.0

Region = tuple[int, int]
"""Address and bytes."""


def compile_driver(directory: Path) -> Path:
    """The engine for AArch64, ``_engine.so`` in ``directory``, and the driver linked with it.

    Raises:
        BuildError: the cross compiler is missing, or rejects the engine without a warning.
        ToolchainError: it rejects the driver.
    """
    extra = ("-Werror",)
    library = build(directory / "_engine.so", extra=extra, machine="aarch64", program=COMPILER)
    driver = directory / "driver"
    command = [COMPILER, "-O1", "-Wall", "-Werror", str(DRIVER), str(library)]
    command += ["-Wl,-rpath,$ORIGIN", "-o", str(driver)]
    toolchain.run_tool(command, directory, _TIMEOUT_S)
    return driver


class Emulated(Library):
    """The library's calls, made by an emulated AArch64 process.

    Attributes:
        trainer: whose memory the calls work on; set it once it is made.
        instructions: that the calls executed so far, if they are counted.
    """

    real_bytes = 4
    instruction_sets = ("neon",)

    def __init__(self, driver: Path, *, counting: bool = False) -> None:
        """Calls through ``driver``; to count them costs every call a second one that does nothing.

        Raises:
            ToolchainError: to count, QEMU or the compiler of its plugin is missing.
        """
        self._driver, self.instructions = driver, 0
        self._plugin = compiled_plugin(driver.parent, EMULATOR) if counting else None
        self.trainer: Executor

    def set_index(self, name: str | None) -> int:
        """There is one instruction set."""
        del name
        return 0

    def run(self, set_index: int, run: abi.Run) -> None:
        """Copy everything the program can reach, with the layers it names."""
        del set_index
        ops = (abi.Op * run.count).from_address(run.ops)
        layers = sorted({op.layer for op in ops} - {0})
        sample = int(np.prod(self.trainer.layout.graph.input_shape))
        inputs, labels = (run.x, 4 * sample * run.valid), (run.y, 8 * run.valid)
        regions = [inputs, labels, (run.loss, 8), (run.correct, 8)]
        words = [(run.ops, ctypes.sizeof(ops))]
        words += [(layer, ctypes.sizeof(abi.Layer)) for layer in layers]
        if self._plugin:
            count, run.count = run.count, 0
            self.instructions -= self._call("run", run, regions, words)
            run.count = count
        self.instructions += self._call("run", run, regions, words)

    def sgd(self, set_index: int, step: abi.Sgd) -> None:
        """One optimizer step; its instructions are not counted."""
        del set_index
        self._call("sgd", step, [], [])

    def _call(
        self, name: str, argument: ctypes.Structure, regions: list[Region], words: list[Region]
    ) -> int:
        """Make a call on copies of the memory; returns the instructions executed, if counted."""
        regions = [(array.ctypes.data, array.nbytes) for array in self.trainer.memory] + regions
        pointing = [*words, (ctypes.addressof(argument), ctypes.sizeof(argument))]
        starts, total = [], 0
        for _, size in regions + pointing:
            starts.append(BASE + total)
            total += -(-size // 64) * 64
        moved = list(zip(regions + pointing, starts, strict=True))
        memory = bytearray(total)
        for index, ((old, size), new) in enumerate(moved):
            content = np.frombuffer(ctypes.string_at(old, size), np.uint8)
            if index >= len(regions):
                content = _relocated(content.view(np.int64), moved).view(np.uint8)
            memory[new - BASE : new - BASE + size] = content.tobytes()
        after = self._emulate(name, memory, starts[-1])
        for (old, size), new in moved[: len(regions)]:
            ctypes.memmove(old, after[new - BASE : new - BASE + size], size)
        if self._plugin is None:
            return 0
        return sum(block.instructions * block.executed for block in executed(self._driver.parent))

    def _emulate(self, name: str, memory: bytearray, argument: int) -> bytes:
        directory = self._driver.parent
        counted = plugin_options(self._plugin, directory) if self._plugin else ()
        command = [
            EMULATOR,
            "-L",
            SYSROOT,
            *counted,
            self._driver,
            BASE,
            len(memory),
            name,
            argument,
        ]
        done = subprocess.run(
            [str(word) for word in command], input=bytes(memory), capture_output=True,
            env=tool_environment(), check=False,
        )  # fmt: skip
        if done.returncode:
            raise FedTinyError(f"{EMULATOR} ended with {done.returncode}: {done.stderr.decode()}")
        return done.stdout


def _relocated(words: npt.NDArray[np.int64], moved: list[tuple[Region, int]]) -> npt.NDArray[Any]:
    """8-byte words with every address in a moved region replaced by its new one.

    Sizes, flags and doubles are never mistaken for addresses: this process's lie around 2**47.
    """
    result = words.copy()
    for (old, size), new in moved:
        inside = (words >= old) & (words < old + max(size, 1))
        result[inside] = words[inside] - old + new
    return result
