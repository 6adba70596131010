"""The engine's sources on the Raspberry Pi's architecture: compiled, and run under emulation."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from builders import activated, sparse_model

from fedtiny.bench.emulated import COMPILER, EMULATOR, Emulated, compile_driver
from fedtiny.bench.neon import count
from fedtiny.engine import EngineOptions, Executor, available
from fedtiny.models import build
from fedtiny.models.ops import Activation
from fedtiny.seeding import rng

pytestmark = [
    pytest.mark.firmware,
    pytest.mark.skipif(not shutil.which(COMPILER), reason=f"{COMPILER} is not installed"),
    pytest.mark.skipif(not shutil.which(EMULATOR), reason=f"{EMULATOR} is not installed"),
    pytest.mark.timeout(240),
]


@pytest.fixture(scope="module")
def driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The engine, cross-compiled without a warning, and what calls it."""
    return compile_driver(tmp_path_factory.mktemp("aarch64"))


def test_it_compiles_to_neon(driver: Path) -> None:
    library = driver.with_name("_engine.so")
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
    driver: Path,
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
    lib = Emulated(driver)
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


@pytest.mark.skipif(not available(), reason="the engine is not compiled here")
def test_fewer_weights_are_fewer_instructions(driver: Path) -> None:
    counts = {
        (density, bits): count(driver, "smart-watch", "smartwatch_cnn", density, bits)
        for density, bits in ((1.0, 32), (0.1, 32), (0.1, 16))
    }
    dense, sparse, narrow = (one.instructions for one in counts.values())
    assert dense > 3 * sparse > 0
    assert narrow < 1.3 * sparse  # what is widened is loaded two registers at a time
