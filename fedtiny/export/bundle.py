"""The one place that writes an exported model: a self-contained C project with its own check."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path

import fedtiny
from fedtiny.boards import elf, host, toolchain
from fedtiny.errors import FedTinyError
from fedtiny.firmware.emit import SensorInterface, packaging, render, sources
from fedtiny.firmware.lower import lower
from fedtiny.firmware.plan import Plan, Step
from fedtiny.firmware.vectors import vector_file
from fedtiny.quant.integer_model import Int16s, IntegerConv, IntegerGraph, IntegerLinear

RUNTIME = "fedtiny_nn"
"""Directory of the kernels inside the project."""

BUILD = "build"
"""Directory of compiled objects inside the project; no part of the export."""

VERSION_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One step of the exported model.

    Attributes:
        name: of the node.
        kernel: C function that computes it.
        format: how its weights are stored; None if it has none.
        density: non-zero int8 weights / weights; None if it has none.
        flash_bytes: its weights and quantization parameters.
        scratch_bytes: working memory of the kernel, inside the arena.
        live_bytes: arena bytes in use while it runs, scratch included.
        instructions: predicted for the core the plan was made for.
    """

    name: str
    kernel: str
    format: str | None
    density: float | None
    flash_bytes: int
    scratch_bytes: int
    live_bytes: int
    instructions: int


@dataclass(frozen=True, slots=True)
class FirmwareReport:
    """Sizes of an exported model.

    Attributes:
        flash_bytes: weights and quantization parameters; code is apart.
        arena_bytes: all RAM the model needs but for the stack.
        code_bytes: machine code of model and runtime as ``compiler`` builds it for this host.
        compiler: first line of its version.
        vectors: test windows in the project.
        layers: in execution order.
    """

    flash_bytes: int
    arena_bytes: int
    code_bytes: int
    compiler: str
    vectors: int
    layers: tuple[LayerReport, ...]


def export(
    model: IntegerGraph,
    directory: Path,
    counts: Int16s,
    interface: SensorInterface,
    plan: Plan | None = None,
) -> FirmwareReport:
    """Write the C project of ``model`` into ``directory``, replacing an earlier export.

    Args:
        model: the integer model.
        directory: created if need be.
        counts: int16 ``(N, C, H, W)``, N ≥ 1 windows of raw sensor counts; each becomes a test
            vector with what the integer reference makes of it.
        interface: names for people.
        plan: of the model, see :func:`fedtiny.firmware.planner.fit`; by default the fastest on
            a Cortex-M4.

    Raises:
        FedTinyError: no vectors, names that do not fit, a directory that holds something else,
            or no compiler.
    """
    if len(counts) == 0:
        raise FedTinyError("an export needs at least one test window to check itself with")
    toolchain.require("make")
    toolchain.require("gcc")
    plan = plan or lower(model)
    texts = sources(plan, interface)
    vectors = vector_file(model, counts)
    _clear(directory)
    _write_texts(directory, texts)
    (directory / "vectors.bin").write_bytes(vectors)
    _copy_runtime(directory / RUNTIME)
    _write_texts(directory, packaging(plan, interface, _kernel_files(directory)))
    report = _report(plan, len(counts), _measure_code(directory))
    readme = render("README.md", _readme_context(plan, interface, report))
    _write_texts(directory, {"README.md": readme})
    _write_texts(directory, {"manifest.json": _manifest(directory, plan, interface, report)})
    return report


def _clear(directory: Path) -> None:
    """Remove an earlier export; refuse to touch a directory that is none."""
    if directory.exists() and any(directory.iterdir()):
        if not (directory / "model.h").exists():
            raise FedTinyError(
                f"{directory} is not empty and holds no exported model; choose another directory"
            )
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)


def _write_texts(directory: Path, texts: Mapping[str, str]) -> None:
    for name, text in texts.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")


def _copy_runtime(target: Path) -> None:
    with resources.as_file(resources.files("fedtiny.firmware") / "runtime") as runtime:
        shutil.copytree(runtime, target, ignore=shutil.ignore_patterns("__pycache__", "*.py"))


def _kernel_files(directory: Path) -> list[str]:
    found = (directory / RUNTIME / "src").rglob("*.[cS]")
    return sorted(path.relative_to(directory).as_posix() for path in found)


def _measure_code(directory: Path) -> tuple[int, str]:
    """(code bytes, compiler) of model and runtime; the objects stay for ``make check``."""
    version = toolchain.run_tool(["gcc", "--version"], directory, VERSION_TIMEOUT_S).stdout
    host.build(directory, "objects")
    objects = sorted((directory / BUILD).rglob("*.o"))
    return elf.sizes(objects).code_bytes, version.splitlines()[0]


def _report(plan: Plan, vectors: int, code: tuple[int, str]) -> FirmwareReport:
    code_bytes, compiler = code
    return FirmwareReport(
        plan.flash_bytes, plan.arena.nbytes, code_bytes, compiler, vectors, layer_reports(plan)
    )


def layer_reports(plan: Plan) -> tuple[LayerReport, ...]:
    """What each step costs."""
    return tuple(map(_layer_report, plan.steps, plan.arena.live_bytes))


def _layer_report(step: Step, live_bytes: int) -> LayerReport:
    weight_format, density = None, None
    if isinstance(step.node, IntegerConv | IntegerLinear):
        weight_format = "int8" if step.encoded is None else step.encoded.format.name
        density = step.node.weight.density
    return LayerReport(
        step.node.name,
        step.kernel.value,
        weight_format,
        density,
        step.flash_bytes,
        step.scratch_bytes,
        live_bytes,
        step.instructions,
    )


def _readme_context(
    plan: Plan, interface: SensorInterface, report: FirmwareReport
) -> dict[str, object]:
    return {
        "name": plan.model.name,
        "version": fedtiny.__version__,
        "input": plan.model.input,
        "channels": interface.channels,
        "units": interface.units,
        "labels": interface.labels,
        "report": report,
    }


def _manifest(
    directory: Path, plan: Plan, interface: SensorInterface, report: FirmwareReport
) -> str:
    names = sorted(
        path.relative_to(directory)
        for path in directory.rglob("*")
        if path.is_file() and path.relative_to(directory).parts[0] != BUILD
    )
    manifest = {
        "fedtiny": fedtiny.__version__,
        "model": plan.model.name,
        "input_shape": plan.model.input.shape,
        "interface": asdict(interface),
        "sizes": asdict(report),
        "sha256": {
            name.as_posix(): hashlib.sha256((directory / name).read_bytes()).hexdigest()
            for name in names
        },
    }
    return json.dumps(manifest, indent=2) + "\n"
