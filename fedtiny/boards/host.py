"""Building an exported firmware project with this machine's compiler, and running its check."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from fedtiny.boards.step_failure import check_steps
from fedtiny.toolchain import ToolchainError, require, run_tool

BUILD_TIMEOUT_S = 300.0
RUN_TIMEOUT_S = 900.0

_RESULT = re.compile(r"^(\d+) vectors, (\d+) mismatches$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """Outcome of a firmware project's self-test.

    Attributes:
        vectors: test windows run.
        mismatches: those whose quantized input or logits differ in any byte.
        seconds: taken by the run, building excluded.
    """

    vectors: int
    mismatches: int
    seconds: float


_PROBE_C = """#include <stdint.h>
#include <stdio.h>
#include <string.h>
int main(void) { return printf("%d\\n", (int)sizeof(int32_t)) < 0; }
"""
_PROBE_MAKE = "check: probe\n\t./probe\nprobe: probe.c\n\t$(CC) -std=c99 -o probe probe.c\n"


def probe(directory: Path) -> None:
    """See that this machine compiles and runs a C program, as :func:`check` will.

    Args:
        directory: is made for it.

    Raises:
        ToolchainError: gcc, make or the C library's headers are missing, or programs in
            ``directory`` may not run.
    """
    directory.mkdir(parents=True)
    (directory / "probe.c").write_text(_PROBE_C, encoding="utf-8")
    (directory / "Makefile").write_text(_PROBE_MAKE, encoding="utf-8")
    run_tool(_make("check"), directory, BUILD_TIMEOUT_S)


def build(directory: Path, target: str = "build") -> None:
    """Compile the firmware project in ``directory`` with its own Makefile and ``gcc``.

    Raises:
        ToolchainError: gcc or make is missing, or the build fails.
    """
    run_tool(_make(target), directory, BUILD_TIMEOUT_S)


def check(directory: Path, target: str = "check") -> CheckResult:
    """Build the firmware project in ``directory`` and run it over all its test vectors.

    Args:
        directory: as written by :func:`fedtiny.export.bundle.export`.
        target: ``"check"``, or ``"sanitize"`` for the same under ASan and UBSan.

    Raises:
        ToolchainError: a tool is missing, the build fails, or the self-test reports nothing.
            Mismatches are no error here: they are the result.
        StepFailedError: a kernel refuses its layer.
    """
    build(directory, "build" if target == "check" else f"build-{target}")
    started = time.perf_counter()
    done = run_tool(_make(target), directory, RUN_TIMEOUT_S, allowed=(0, 2))
    seconds = time.perf_counter() - started
    check_steps("host", done.stdout)
    found = _RESULT.search(done.stdout)
    if found is None:
        raise ToolchainError(
            f"`make {target}` in {directory} reported no result:\n{done.stdout}{done.stderr}"
        )
    result = CheckResult(int(found[1]), int(found[2]), seconds)
    if done.returncode != 0 and result.mismatches == 0:
        raise ToolchainError(f"`make {target}` in {directory} failed:\n{done.stdout}{done.stderr}")
    return result


def _make(target: str) -> list[str]:
    require("gcc")
    return ["make", "--no-print-directory", "-j2", "CC=gcc", target]
