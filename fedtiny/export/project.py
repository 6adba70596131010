"""The files of an exported project, written to disk: nothing is compiled here."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path

import fedtiny
from fedtiny.errors import FedTinyError
from fedtiny.export.report import FirmwareReport
from fedtiny.firmware.emit import packaging, sources
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.plan import ExportPlan
from fedtiny.firmware.planner import Target
from fedtiny.firmware.render import render

RUNTIME = "fedtiny_nn"
"""Directory of the kernels inside the project."""

BUILD = "build"
"""Directory of compiled objects inside the project; no part of the export."""


def write_project(
    directory: Path,
    plan: ExportPlan,
    vectors: bytes,
    interface: SensorInterface,
    lessons: bytes = b"",
) -> None:
    """Everything that a build needs: model, kernels, test vectors and packaging.

    Args:
        directory: created if need be; an earlier export there is replaced.
        plan: the model and how it is computed.
        vectors: of the plan's model, see :func:`fedtiny.firmware.vectors.vector_file`.
        interface: names for people.
        lessons: for a plan with something to learn, see :mod:`fedtiny.learn.lessons`.

    Raises:
        FedTinyError: names that do not fit, or a directory that holds something else.
    """
    texts = sources(plan, interface)
    _clear(directory)
    _write_texts(directory, texts)
    (directory / "vectors.bin").write_bytes(vectors)
    if plan.side is not None:
        (directory / "lessons.bin").write_bytes(lessons)
    _copy_runtime(directory / RUNTIME, learns=plan.side is not None)
    _write_texts(directory, packaging(plan, interface, _kernel_files(directory)))


def describe_project(
    directory: Path,
    plan: ExportPlan,
    target: Target,
    interface: SensorInterface,
    report: FirmwareReport,
) -> None:
    """Add ``README.md`` and ``manifest.json``: what it is, what it takes, and a digest per file.

    Args:
        directory: from :func:`write_project`.
        plan: the same.
        target: the plan was made for.
        interface: the same.
        report: sizes, those of compiled code included.
    """
    readme = render("README.md", _readme_context(plan, interface, report))
    _write_texts(directory, {"README.md": readme})
    manifest = {
        "fedtiny": fedtiny.__version__,
        "model": plan.model.name,
        "target": asdict(target),
        "input_shape": plan.model.input.shape,
        "interface": asdict(interface),
        "sizes": asdict(report),
        "sha256": _digests(directory),
    }
    _write_texts(directory, {"manifest.json": json.dumps(manifest, indent=2) + "\n"})


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


def _copy_runtime(target: Path, learns: bool) -> None:
    left_out = ["__pycache__", "*.py"]
    if not learns:
        left_out += ["learn", "fedtiny_learn.h"]
    with resources.as_file(resources.files("fedtiny.firmware") / "runtime") as runtime:
        shutil.copytree(runtime, target, ignore=shutil.ignore_patterns(*left_out))


def _kernel_files(directory: Path) -> list[str]:
    found = (directory / RUNTIME / "src").rglob("*.[cS]")
    return sorted(path.relative_to(directory).as_posix() for path in found)


def _readme_context(
    plan: ExportPlan, interface: SensorInterface, report: FirmwareReport
) -> dict[str, object]:
    return {
        "name": plan.model.name,
        "version": fedtiny.__version__,
        "input": plan.model.input,
        "channels": interface.channels,
        "units": interface.units,
        "labels": interface.labels,
        "report": report,
        "p": interface.prefix,
        "P": interface.prefix.upper(),
        "unit": interface.unit,
    }


def _digests(directory: Path) -> dict[str, str]:
    """SHA-256 of every file by path, compiled objects aside."""
    names = sorted(
        path.relative_to(directory)
        for path in directory.rglob("*")
        if path.is_file() and path.relative_to(directory).parts[0] != BUILD
    )
    return {
        name.as_posix(): hashlib.sha256((directory / name).read_bytes()).hexdigest()
        for name in names
    }
