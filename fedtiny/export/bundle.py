"""An exported model on disk: its project written, compiled once for its size, and described."""

from __future__ import annotations

from pathlib import Path

from fedtiny import toolchain
from fedtiny.boards import elf, host
from fedtiny.errors import FedTinyError
from fedtiny.export.project import BUILD, describe_project, write_project
from fedtiny.export.report import FirmwareReport, layer_reports, learn_report
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.plan import ExportPlan
from fedtiny.firmware.planner import ANY_CORTEX_M4, Target
from fedtiny.firmware.vectors import vector_file
from fedtiny.quant.tensors import Int16s
from fedtiny.toolchain import ToolchainError

VERSION_TIMEOUT_S = 30.0


def export(
    plan: ExportPlan,
    directory: Path,
    counts: Int16s,
    interface: SensorInterface,
    target: Target = ANY_CORTEX_M4,
    compiled: bool = True,
    lessons: bytes = b"",
) -> FirmwareReport:
    """Write the C project of ``plan`` into ``directory``, replacing an earlier export.

    Args:
        plan: the integer model and how it is computed, see :func:`fedtiny.firmware.planner.fit`.
        directory: created if need be.
        counts: int16 ``(N, C, H, W)``, N ≥ 1 windows of raw sensor counts; each becomes a test
            vector with what the integer reference makes of it.
        interface: names for people.
        target: the plan was made for; the manifest names it.
        compiled: build it once to know its code's size; else that is 0, by no compiler.
        lessons: what a project that learns checks itself with, see :mod:`fedtiny.learn.lessons`.

    Raises:
        FedTinyError: no vectors, names that do not fit, a directory that holds something else,
            or no compiler.
    """
    if len(counts) == 0:
        raise FedTinyError("an export needs at least one test window to check itself with")
    toolchain.require("make")
    toolchain.require("gcc")
    write_project(directory, plan, vector_file(plan.model, counts), interface, lessons)
    code_bytes, compiler = _measure_code(directory) if compiled else (0, "no compiler")
    report = FirmwareReport(
        plan.flash_bytes,
        plan.arena.nbytes,
        code_bytes,
        compiler,
        len(counts),
        layer_reports(plan),
        None if plan.side is None else learn_report(plan, plan.side),
    )
    describe_project(directory, plan, target, interface, report)
    return report


def _measure_code(directory: Path) -> tuple[int, str]:
    """(code bytes, compiler) of the model and the kernels it calls.

    The objects stay for ``make check``.
    """
    version = toolchain.run_tool(["gcc", "--version"], directory, VERSION_TIMEOUT_S).stdout
    host.build(directory, "objects")
    model = directory / BUILD / "model.o"
    if not model.is_file():
        raise ToolchainError(f"`make objects` in {directory} left no {BUILD}/model.o")
    roots = [path for path in (model, directory / BUILD / "learn.o") if path.is_file()]
    objects = elf.needed(roots, sorted((directory / BUILD).rglob("*.o")))
    return elf.sizes(objects).code_bytes, version.splitlines()[0]
