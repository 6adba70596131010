"""``python -m sims.camera.firmware RUN``: detector and classifier in one program with one arena.

Writes RUN/camera_firmware, compiles it for this host and for emulated boards, and compares what it
sees in scenes with the integer reference: every box and every class.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from fedtiny import toolchain
from fedtiny.boards import elf, qemu
from fedtiny.boards.kernels import CompiledKernels, compile_portable
from fedtiny.boards.native.library import RUNTIME
from fedtiny.command_line import CommandLine
from fedtiny.export.project import write_project
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.plan import ExportPlan
from fedtiny.firmware.planner import ANY_CORTEX_M4, fit
from fedtiny.firmware.vectors import vector_file
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.runs import atomic
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sensing.pixels import Light
from sims.camera.detector import AROUND, CELL, MOST_BOXES, SIDES
from sims.camera.images import images_of
from sims.camera.integers import IntegerCamera, table
from sims.camera.scenes import scene
from sims.camera.study import SHOWN, name_of

SOURCES = Path(__file__).parent / "c"
DETECTOR, CLASSIFIER = "camera_detector", "camera_classifier"
RUN_TIMEOUT_S = 600.0

_RESULT = re.compile(r"^(\d+) vectors, (\d+) mismatches$", re.MULTILINE)
_TICKS = re.compile(r"^ticks (\d+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Check:
    """One target's.

    Attributes:
        target: host, or an emulated machine.
        scenes, mismatches: looked at; of these with another box or class than the reference's.
        instructions: of one scene, mean; None on the host.
        flash_bytes: of the program, start-up code and what compares included; None on the host.
    """

    target: str
    scenes: int
    mismatches: int
    instructions: int | None = None
    flash_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Sizes:
    """In bytes; the arena is the larger of the two networks'."""

    detector_flash: int
    detector_arena: int
    classifier_flash: int
    classifier_arena: int

    @property
    def arena(self) -> int:
        """What both share."""
        return max(self.detector_arena, self.classifier_arena)


def write(camera: IntegerCamera, labels: Sequence[str], folder: Path) -> Sizes:
    """The sources of the program: two exported projects, and what joins them."""
    folder.mkdir(parents=True, exist_ok=True)
    plans = {}
    names = {DETECTOR: ("nothing", *(f"{side} pixels" for side in SIDES)), CLASSIFIER: labels}
    for prefix, model in ((DETECTOR, camera.detector), (CLASSIFIER, camera.classifier)):
        plans[prefix] = _project(model, tuple(names[prefix]), prefix, folder / prefix)
    for source in sorted(SOURCES.iterdir()):
        shutil.copy(source, folder)
    (folder / "camera_settings.h").write_text(_settings(camera), encoding="utf-8")
    detector, classifier = plans[DETECTOR], plans[CLASSIFIER]
    return Sizes(
        detector.flash_bytes,
        detector.arena.nbytes,
        classifier.flash_bytes,
        classifier.arena.nbytes,
    )


def _project(model: IntegerGraph, labels: tuple[str, ...], prefix: str, folder: Path) -> ExportPlan:
    plan = fit(model, ANY_CORTEX_M4).require()
    channels = tuple(f"channel {i}" for i in range(model.input.shape[0]))
    interface = SensorInterface(labels, channels, ("codes",) * len(channels), prefix)
    nothing = np.zeros((1, *model.input.shape), np.int16)
    write_project(folder, plan, vector_file(model, nothing), interface)
    return plan


def _settings(camera: IntegerCamera) -> str:
    numbers = {
        "POOLING": camera.pooling,
        "CELL": CELL,
        "SIZES": len(SIDES),
        "AROUND": AROUND,
        "THRESHOLD": f"({camera.threshold})",
    }
    lines = ["/* Generated with the networks. */", "#include <stdint.h>", ""]
    lines += [f"#define CAMERA_{name} {number}" for name, number in numbers.items()]
    lines.append(f"static const int32_t camera_sides[] = {{{', '.join(map(str, SIDES))}}};")
    for prefix, model in ((DETECTOR, camera.detector), (CLASSIFIER, camera.classifier)):
        values = ", ".join(map(str, table(model).ravel().tolist()))
        lines.append(f"static const int8_t {prefix}_table[] = {{{values}}};")
    return "\n".join(lines) + "\n"


def scene_file(camera: IntegerCamera, lights: Sequence[Light]) -> bytes:
    """Scenes as ``camera_check.c`` reads them, with what the integer reference sees."""
    records = []
    for light in lights:
        items = np.zeros((MOST_BOXES, 5), "<i4")
        seen = camera.look(light)
        for row, (box, label) in zip(items, seen, strict=False):
            row[:] = (box.x, box.y, box.width, box.height, label)
        records += [np.array([len(seen)], "<i4").tobytes(), items.tobytes()]
        records.append(light.astype("<u2").tobytes())
    return b"".join(records)


def check_host(folder: Path, sanitize: bool = False) -> Check:
    """Compile with gcc, look at the folder's ``scenes``.

    Raises:
        ToolchainError: it does not compile, or a sanitizer has something to say.
    """
    folder = folder.resolve()  # compilers work in folders of their own
    build = folder / ("sanitized" if sanitize else "host")
    flags = ["-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    command = ["gcc", "-std=c99", "-Wall", "-Wextra", "-Werror", *(flags if sanitize else ["-O2"])]
    kernels = [one for part in ("src", "src/dense") for one in sorted((RUNTIME / part).glob("*.c"))]
    objects = _objects(command, folder, build, (RUNTIME / "include",))
    (build / "kernels").mkdir(exist_ok=True)
    include = f"-I{RUNTIME / 'include'}"
    objects += toolchain.compile_objects([*command, include], kernels, build / "kernels", 300)
    program = build / "camera"
    toolchain.run_tool([*command, *map(str, objects), "-o", str(program)], build, 300)
    done = toolchain.run_tool([str(program)], folder, RUN_TIMEOUT_S)
    return Check("host", *_numbers(_RESULT, done.stdout))


def check_board(folder: Path, machine: str, kernels: CompiledKernels | None = None) -> Check:
    """The same on an emulated board.

    Raises:
        ToolchainError: a tool is missing, it does not compile, or the program faults.
    """
    folder = folder.resolve()
    target, build = qemu.machine(machine), folder / machine
    build.mkdir(exist_ok=True)
    kernels = kernels or compile_portable(target, build / "kernels")
    command = ["arm-none-eabi-gcc", "-std=gnu99", "-mthumb", *target.flags, "-O3"]
    command += ["-ffunction-sections", "-fdata-sections", "-DFEDTINY_BOARD", f"-I{qemu.BOARD}"]
    objects = _objects(command, folder, build, kernels.include)
    program = qemu.build(target, [*objects, *kernels.objects], build)
    printed = qemu.run(target, program, folder, RUN_TIMEOUT_S)
    scenes, mismatches = _numbers(_RESULT, printed)
    (ticks,) = _numbers(_TICKS, printed)
    sizes = elf.sizes([program])
    return Check(
        machine,
        scenes,
        mismatches,
        round(ticks * target.tick_ns / max(scenes, 1)),
        sizes.text_bytes + sizes.data_bytes,
    )


def _objects(
    command: Sequence[str], folder: Path, build: Path, include: Sequence[Path]
) -> list[Path]:
    """Two models have files of the same names: each is compiled in a folder of its own."""
    found: list[Path] = []
    for prefix in (DETECTOR, CLASSIFIER):
        place = build / prefix
        place.mkdir(parents=True, exist_ok=True)
        full = [*command, *(f"-I{path}" for path in (folder / prefix, *include))]
        sources = [folder / prefix / name for name in ("model.c", "model_weights.c")]
        found += toolchain.compile_objects(full, sources, place, 300)
    folders = (folder, folder / DETECTOR, folder / CLASSIFIER, *include)
    full = [*command, *(f"-I{path}" for path in folders)]
    sources = [folder / name for name in ("camera.c", "camera_check.c")]
    return found + toolchain.compile_objects(full, sources, build, 300)


def _numbers(pattern: re.Pattern[str], printed: str) -> tuple[int, ...]:
    found = pattern.search(printed)
    if found is None:
        raise toolchain.ToolchainError(f"the camera's program reported no result:\n{printed}")
    return tuple(map(int, found.groups()))


cli = CommandLine()


@cli.command()
def firmware(
    run: Annotated[Path, typer.Argument(help="Of the study; with its detectors.")],
    detector: Annotated[str, typer.Option(help="One of RUN/detectors.")] = name_of(*SHOWN),
    scenes: Annotated[int, typer.Option(help="To look at on the host.")] = 20,
    machine: Annotated[list[str] | None, typer.Option(help="Emulated boards.")] = None,
) -> None:
    """Write, compile, compare; RUN/camera_firmware/camera.json says what was found."""
    finished, folder = TrainedModel.load(RunFolder(run).model), run / "camera_firmware"
    camera = IntegerCamera.load(run / "detectors" / f"{detector}.safetensors", finished)
    sizes = write(camera, finished.labels, folder)
    images = images_of(RunFolder(run), finished.labels)[1]
    lights = [scene(images, 0, "firmware", i).light for i in range(scenes)]
    (folder / "scenes").write_bytes(scene_file(camera, lights))
    checks = [check_host(folder)]
    (folder / "scenes").write_bytes(scene_file(camera, lights[:2]))
    checks += [check_board(folder, name) for name in machine or ["qemu-m4"]]
    found = {
        "detector": detector,
        "bytes": {**asdict(sizes), "shared_arena": sizes.arena},
        "checks": [asdict(one) for one in checks],
    }
    atomic.write(folder / "camera.json", json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    cli()
