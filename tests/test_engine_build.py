"""Compiling the engine: sanitizers, no compiler, stale libraries."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import sys
from enum import IntEnum
from pathlib import Path

import pytest

from fedtiny.engine import abi, available, library
from fedtiny.engine import build as builder
from fedtiny.engine.build import BuildError, compiler, instruction_sets
from fedtiny.engine.library import EngineError, Library

ROOT = Path(__file__).parents[1]

SANITIZED = """
import sys
from itertools import product
from pathlib import Path
import numpy as np
from fedtiny.engine import EngineOptions, Executor
from fedtiny.engine.library import load
from builders import activated
from fedtiny.models import build
from fedtiny.models.ops import Activation
from fedtiny.models.sparse_model import from_state
from fedtiny.sparse.tensor import Mask
lib, rng = load(Path(sys.argv[1])), np.random.default_rng(0)
NEVER = 2
relu, others = Activation.RELU, (Activation.RELU6, Activation.HARD_SWISH)
cases = (("resnet8", (1, 11, 9), 11, 2, NEVER, 1, relu),
         ("resnet8", (1, 11, 9), 11, 2, 0, 1, relu),
         ("resnet8", (1, 11, 9), 11, 1, NEVER, 1, *others),
         ("resnet8", (1, 11, 9), 3, 1, NEVER, 0.4, Activation.RELU6),
         ("ds_cnn", (1, 49, 10), 3, 1, 0, 1, *others),
         ("vgg11", (2, 32, 32), 2, 1, NEVER, 1, relu))
for name, shape, samples, threads, crossover, density, *activations in cases:
    graph = activated(build(name, shape, 4), *activations)
    state = {r.name: rng.random(r.shape, np.float32) for r in graph.parameter_table}
    masks = {l.name: Mask(l.weight_shape, np.flatnonzero(
        rng.random(l.weight_shape) < 0.1).astype(np.int32)) for l in graph.prunable_layers}
    x, y = rng.random((samples, *shape), np.float32), rng.integers(4, size=samples)
    for instruction_set, bits in product(lib.instruction_sets, (16, 32) if density == 1 else (32,)):
        trainer = Executor(
            graph, from_state(graph, state, masks),
            EngineOptions(samples, threads, activation_density=density, tile_bytes=4096,
                          activation_bits=bits, crossover=crossover),
            lib=lib, instruction_set=instruction_set)
        trainer.step(x, y)
        trainer.evaluate(x, y)
        trainer.ranges([x])
        trainer.growth(x, y, {graph.prunable_layers[1].name: 7})
print("clean")
"""


@pytest.mark.firmware
@pytest.mark.skipif(compiler() is None, reason="no C++ compiler")
def test_kernels_are_clean_under_sanitizers(tmp_path):
    path = tmp_path / "sanitized.so"
    # small register tiles: the same code in far fewer copies; not optimised, three instruction sets
    # compile in half a minute
    flags = (
        "-O0",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover=all",
        "-DFT_ACCUMULATORS=8",
    )
    builder.build(path, extra=flags)
    program = shutil.which(compiler() or "")
    found = [
        subprocess.run([program, f"-print-file-name={name}"], capture_output=True, encoding="utf-8")
        for name in ("libasan.so", "libubsan.so")
    ]
    preload = " ".join(result.stdout.strip() for result in found)
    tests = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    environment = {**os.environ, **tests, "LD_PRELOAD": preload, "ASAN_OPTIONS": "detect_leaks=0"}
    result = subprocess.run(
        [sys.executable, "-c", SANITIZED, str(path)],
        env=environment, cwd=ROOT, capture_output=True, encoding="utf-8",
    )  # fmt: skip
    assert result.stdout.strip() == "clean", result.stderr[-3000:]


def test_without_a_compiler_the_build_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(BuildError, match="install g"):
        builder.build(tmp_path / "engine.so")


def test_without_the_library_the_engine_is_unavailable(monkeypatch, tmp_path):
    monkeypatch.setattr(library, "LIBRARY", str(tmp_path / "absent.so"))
    monkeypatch.setattr(library, "load", library.load.__wrapped__)
    reason = library.unavailable_reason.__wrapped__()
    assert reason is not None
    assert "python -m fedtiny.engine" in reason


def test_a_file_that_is_no_library_is_refused(tmp_path):
    path = tmp_path / "broken.so"
    path.write_bytes(b"not a library")
    with pytest.raises(EngineError, match=r"cannot load broken.so"):
        Library(path)


class Swapped(ctypes.Structure):
    _fields_ = [(name, kind) for name, kind in abi.Sgd._fields_ if name != "learning_rate"]
    _fields_.insert(5, ("learning_rate", ctypes.c_double))


class Shorter(ctypes.Structure):
    _fields_ = abi.Sgd._fields_[:-1]


class Narrow(ctypes.Structure):
    _fields_ = [*abi.Sgd._fields_[:-1], ("weight_decay", ctypes.c_float)]


Misnumbered = IntEnum("Misnumbered", {"LOAD": 0, "CONV": 2})


@pytest.mark.skipif(not available(), reason="the engine is not compiled here")
@pytest.mark.parametrize(
    ("right", "wrong", "complaint"),
    [
        (abi.Sgd, Swapped, "engine.h has learning_rate:32:8 where abi.py has momentum_factor:32:8"),
        (abi.Sgd, Shorter, "engine.h has weight_decay:48:8 where abi.py has no more"),
        (abi.Sgd, Narrow, "engine.h has weight_decay:48:8 where abi.py has weight_decay:48:4"),
        (abi.Kind, Misnumbered, "engine.h has kConv:1 where abi.py has kConv:2"),
    ],
)
def test_a_mirror_that_differs_is_refused_by_name(monkeypatch, right, wrong, complaint):
    wrong.__name__ = right.__name__
    mirrored = [*abi.MIRRORED]
    mirrored[mirrored.index(right)] = wrong
    monkeypatch.setattr(abi, "MIRRORED", tuple(mirrored))
    with pytest.raises(EngineError, match=f"in {right.__name__}, {complaint}"):
        Library(Path(library.__file__).with_name(builder.LIBRARY))


@pytest.mark.skipif(not available(), reason="the engine is not compiled here")
def test_every_structure_the_library_describes_is_compared():
    dll = library.load()._dll
    assert dll.fedtiny_mirror(len(abi.MIRRORED) - 1)
    assert dll.fedtiny_mirror(len(abi.MIRRORED)) is None


def test_other_machines_get_one_portable_set():
    assert list(instruction_sets("aarch64")) == ["baseline"]
    assert list(instruction_sets("x86_64")) == ["baseline", "avx2", "avx512"]


def test_a_library_of_these_sources_is_not_compiled_again(monkeypatch, tmp_path):
    compiled = tmp_path / "compiled.so"
    monkeypatch.setattr(builder, "build", lambda: compiled)
    monkeypatch.setattr(builder, "__file__", str(tmp_path / "build.py"))
    assert builder.built() == compiled, "there is none"
    library = tmp_path / builder.LIBRARY
    library.write_bytes(b"\0" + builder.source_hash().encode() + b"\0")
    assert builder.built() == library
    library.write_bytes(b"\0" + b"0" * 16 + b"\0")
    assert builder.built() == compiled, "it is of other sources"
