"""The compute roof of this machine, measured: float32 multiply-adds per second."""

from __future__ import annotations

import ctypes
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedtiny.engine.build import compiler, tool_environment

_SOURCE = Path(__file__).with_name("fma_peak.cpp")
_FLAGS = ("-O3", "-march=native", "-mprefer-vector-width=512", "-ffp-contract=fast", "-fPIC")
_PORTABLE_FLAGS = ("-O3", "-mcpu=native", "-ffp-contract=fast", "-fPIC")
_REPEATS = 12
_ROUNDS = 2_000_000
_GEMM_SIZE = 1024
_COPIED, _COPIES = 16 * 1024, 500  # 64 KiB each: the second-level cache


@dataclass(frozen=True, slots=True)
class Peak:
    """A measured rate.

    Attributes:
        flops_per_s: of all threads together.
        source: ``"fma"`` (register-only multiply-adds, the roof) or ``"sgemm"`` (best sustained
            matrix product, where there is no compiler: a lower roof).
    """

    flops_per_s: float
    source: str


def measure_peak(threads: int = 1) -> Peak:
    """The best of several short runs on ``threads`` threads."""
    with tempfile.TemporaryDirectory() as folder:
        library = _compile(Path(folder))
        if library is None:
            return Peak(_best(_sgemm, 1), "sgemm")
        return Peak(_best(lambda: _fma(library), threads), "fma")


def measure_copy_rate() -> float:
    """Bytes read and written a second by a copy within one core's caches, the best of several."""
    source = np.ones(_COPIED, np.float32)
    target = np.empty_like(source)
    best = 0.0
    for _ in range(_REPEATS):
        started = time.perf_counter()
        for _ in range(_COPIES):
            np.copyto(target, source)
        best = max(best, _COPIES * 2 * source.nbytes / (time.perf_counter() - started))
    return best


def _compile(folder: Path) -> ctypes.CDLL | None:
    program = compiler()
    if program is None:
        return None
    target = folder / "fma_peak.so"
    for flags in (_FLAGS, _PORTABLE_FLAGS):
        command = [*program.split(), *flags, "-shared", str(_SOURCE), "-o", str(target)]
        done = subprocess.run(command, env=tool_environment(), capture_output=True, check=False)
        if done.returncode == 0:
            library = ctypes.CDLL(str(target))
            library.fma_flops.restype = ctypes.c_double
            return library
    return None


def _fma(library: ctypes.CDLL) -> float:
    sink = ctypes.c_float(1.0)
    return float(library.fma_flops(ctypes.c_long(_ROUNDS), ctypes.byref(sink)))


def _sgemm() -> float:
    left = np.ones((_GEMM_SIZE, _GEMM_SIZE), np.float32)
    left @ left
    return 2.0 * _GEMM_SIZE**3


def _best(work: Callable[[], float], threads: int) -> float:
    """FLOPs per second of the fastest of several runs, every thread running ``work``."""
    rates = []
    with ThreadPoolExecutor(threads) as pool:
        for _ in range(_REPEATS):
            started = time.perf_counter()
            done = sum(pool.map(lambda _: work(), range(threads)))
            rates.append(done / (time.perf_counter() - started))
    return max(rates)
