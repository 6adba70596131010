"""The engine's sources on the Raspberry Pi's architecture: compiled, and run under emulation.

No AArch64 Python is needed: a training step's memory, prepared here, is handed to an emulated
process that makes the library's call on it and hands it back.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from builders import activated, sparse_model

from fedtiny.engine import EngineOptions, Executor, abi, available
from fedtiny.engine.build import build as compile_engine
from fedtiny.engine.library import Library
from fedtiny.models import build
from fedtiny.models.ops import Activation
from fedtiny.seeding import rng

COMPILER = "aarch64-linux-gnu-g++"
EMULATOR = "qemu-aarch64"
SYSROOT = "/usr/aarch64-linux-gnu"
DRIVER = Path(__file__).with_name("engine_emulated.cpp")
BASE = 1 << 37
"""Where the emulated process maps the memory; nothing else is there."""

pytestmark = [
    pytest.mark.firmware,
    pytest.mark.skipif(not shutil.which(COMPILER), reason=f"{COMPILER} is not installed"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine, cross-compiled without a warning."""
    target = tmp_path_factory.mktemp("aarch64") / "_engine.so"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", COMPILER)
        return compile_engine(target, extra=("-Werror",), machine="aarch64")


def test_it_compiles_to_neon(library: Path) -> None:
    header = library.read_bytes()[:20]
    assert header[:4] == b"\x7fELF"
    assert int.from_bytes(header[18:20], "little") == 183  # EM_AARCH64
    code = subprocess.run(
        ["aarch64-linux-gnu-objdump", "-d", library],
        capture_output=True,
        encoding="utf-8",
        check=True,
    ).stdout
    assert code.count(".4s") > 1000


class Emulated(Library):
    """The library's calls, made by an emulated AArch64 process.

    Attributes:
        trainer: whose memory the calls work on; set it once it is made.
    """

    real_bytes = 4
    instruction_sets = ("neon",)

    def __init__(self, driver: Path) -> None:
        self._driver = driver
        self.trainer: Executor

    def set_index(self, name: str | None) -> int:
        return 0

    def run(self, set_index: int, run: abi.Run) -> None:
        """Copy everything the program can reach, with the layers it names."""
        ops = (abi.Op * run.count).from_address(run.ops)
        layers = sorted({op.layer for op in ops} - {0})
        sample = int(np.prod(self.trainer.layout.graph.input_shape))
        inputs, labels = (run.x, 4 * sample * run.valid), (run.y, 8 * run.valid)
        regions = [inputs, labels, (run.loss, 8), (run.correct, 8)]
        words = [(run.ops, ctypes.sizeof(ops))]
        words += [(layer, ctypes.sizeof(abi.Layer)) for layer in layers]
        self._call("run", run, regions, words)

    def sgd(self, set_index: int, step: abi.Sgd) -> None:
        self._call("sgd", step, [], [])

    def _call(
        self,
        name: str,
        argument: ctypes.Structure,
        regions: list[tuple[int, int]],
        words: list[tuple[int, int]],
    ) -> None:
        trainer = self.trainer
        arrays = (trainer.state._memory, trainer._workspace)
        regions = [(array.ctypes.data, array.nbytes) for array in arrays] + regions
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
                content = relocated(content.view(np.int64), moved).view(np.uint8)
            memory[new - BASE : new - BASE + size] = content.tobytes()
        after = self._emulate(name, memory, starts[-1])
        for (old, size), new in moved[: len(regions)]:
            ctypes.memmove(old, after[new - BASE : new - BASE + size], size)

    def _emulate(self, name: str, memory: bytearray, argument: int) -> bytes:
        command = [EMULATOR, "-L", SYSROOT, self._driver, BASE, len(memory), name, argument]
        done = subprocess.run(
            [str(word) for word in command], input=bytes(memory), capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout


def relocated(words: np.ndarray, moved: list[tuple[tuple[int, int], int]]) -> np.ndarray:
    """8-byte words with every address in a moved region replaced by its new one.

    Sizes, flags and doubles are never mistaken for addresses: this process's lie around 2**47.
    """
    result = words.copy()
    for (old, size), new in moved:
        inside = (words >= old) & (words < old + max(size, 1))
        result[inside] = words[inside] - old + new
    return result


@pytest.fixture(scope="module")
def emulated(library: Path) -> Path:
    """The driver, linked with the cross-compiled engine."""
    if not shutil.which(EMULATOR):
        pytest.skip(f"{EMULATOR} is not installed")
    driver = library.with_name("driver")
    command = [COMPILER, "-O1", "-Wall", "-Werror", DRIVER, library, "-Wl,-rpath,$ORIGIN"]
    subprocess.run([*command, "-o", driver], check=True)
    return driver


@pytest.mark.skipif(not available(), reason="the engine is not compiled here")
@pytest.mark.parametrize(
    ("name", "shape", "density", "activation", "bits"),
    [
        ("resnet8", (1, 12, 12), 0.1, Activation.RELU, 32),
        ("resnet8", (1, 12, 12), 0.1, Activation.RELU, 16),
        ("resnet8", (1, 12, 12), 0.1, Activation.RELU6, 32),
        ("resnet8", (1, 12, 12), 0.1, Activation.HARD_SWISH, 32),
        ("ds_cnn", (1, 24, 8), 0.1, Activation.RELU, 32),
        ("smartwatch_cnn", (6, 1, 64), 0.1, Activation.RELU, 32),
        ("smartwatch_cnn", (6, 1, 64), 0.8, Activation.HARD_SWISH, 16),
    ],
)
def test_neon_takes_the_same_steps_as_this_machine(
    emulated: Path,
    name: str,
    shape: tuple[int, int, int],
    density: float,
    activation: Activation,
    bits: int,
) -> None:
    graph = activated(build(name, shape, 5), activation)
    model = sparse_model(graph, density)
    x = rng(0, "x").standard_normal((11, *shape)).astype(np.float32)
    y = np.arange(11) % 5
    lib = Emulated(emulated)
    options = EngineOptions(8, activation_bits=bits)
    neon = Executor(graph, model, options, lr=0.1, weight_decay=1e-3, lib=lib)
    lib.trainer = neon
    here = Executor(graph, model, options, lr=0.1, weight_decay=1e-3)
    for _ in range(2):
        assert neon.step(x, y) == pytest.approx(here.step(x, y), rel=1e-4 if bits == 32 else 1e-3)
    start, expected = model.to_dense(), here.model().to_dense()
    for key, value in neon.model().to_dense().items():
        assert not np.array_equal(value, start[key]), f"{key} was not trained"
        if bits == 32:
            np.testing.assert_allclose(value, expected[key], rtol=1e-3, atol=1e-4, err_msg=key)
            continue
        # a sum that is rounded the other way moves single weights; all together they agree
        moved = np.linalg.norm(expected[key] - start[key])
        assert np.linalg.norm(value - expected[key]) <= 0.05 * moved, key
