"""C text of a plan: pure functions, one per generated file. Nothing is written here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import jinja2
import numpy as np

import fedtiny
from fedtiny.firmware.arena import ALIGNMENT
from fedtiny.firmware.interface import SensorInterface
from fedtiny.firmware.ops.table import op_of
from fedtiny.firmware.plan import ExportPlan, Step
from fedtiny.firmware.text import Array, check_unique, identifier, real, string
from fedtiny.models.ops import INPUT
from fedtiny.quant.integer_model import (
    INPUT_SHIFT,
)

Context = Mapping[str, Any]
"""Variables of a template."""


CODE = ("model.h", "model.c", "model_weights.h", "model_weights.c", "main.c", "Makefile")
"""Generated files that a build of the self-test needs."""

PACKAGING = (
    "CMakeLists.txt",
    "library.json",
    "FedTiny.fedtiny_model.pdsc",
    "zephyr/module.yml",
    "zephyr/Kconfig",
    "zephyr/CMakeLists.txt",
    "examples/zephyr/CMakeLists.txt",
    "examples/zephyr/prj.conf",
    "examples/zephyr/src/main.c",
    "examples/arduino/platformio.ini",
    "examples/arduino/src/main.cpp",
)
"""Generated files for build systems and boards: CMake, PlatformIO, CMSIS-Pack, Zephyr, Arduino."""


def sources(plan: ExportPlan, interface: SensorInterface) -> dict[str, str]:
    """The text of every file of :data:`CODE`, by name."""
    check_unique(step.node.name for step in plan.steps)
    interface.check(plan.model)
    context = _context(plan, interface)
    return {name: render(name, context) for name in CODE}


def packaging(
    plan: ExportPlan, interface: SensorInterface, runtime_sources: Sequence[str]
) -> dict[str, str]:
    """The text of every file of :data:`PACKAGING`, by path.

    Args:
        plan: the model.
        interface: names for people.
        runtime_sources: paths of the kernels within the project.
    """
    context = {
        **_context(plan, interface),
        "channel_list": ", ".join(interface.channels).replace("*/", ""),
        "code_files": ["model.c", "model_weights.c", *runtime_sources],
    }
    return {name: render(name, context) for name in PACKAGING}


def _context(plan: ExportPlan, interface: SensorInterface) -> Context:
    model = plan.model
    return {
        "version": fedtiny.__version__,
        "name": model.name,
        "flash_bytes": plan.flash_bytes,
        "arrays": constant_arrays(plan),
        "input": model.input,
        "output": model.output,
        "input_scale": real(model.input.scale),
        "output_scale": real(model.output.scale),
        "input_shift": INPUT_SHIFT,
        "arena_bytes": plan.arena.nbytes,
        "alignment": ALIGNMENT,
        "input_offset": plan.arena.offsets[INPUT],
        "output_offset": plan.arena.offsets[model.logits],
        "labels": ", ".join(map(string, interface.labels)),
        "channels": ", ".join(map(string, interface.channels)),
        "units": ", ".join(map(string, interface.units)),
        "steps": [_step(step, plan) for step in plan.steps],
    }


def render(name: str, context: Context) -> str:
    """The template ``{name}.jinja`` filled in; a variable it misses is an error."""
    return _environment().get_template(f"{name}.jinja").render(context)


def constant_arrays(plan: ExportPlan) -> list[Array]:
    """All constant data of the model: its size in flash is ``plan.flash_bytes``."""
    entry = plan.model.input_quantization
    arrays = [
        Array("model_input_multiplier", "input quantization", entry.multiplier),
        Array("model_input_offset", "input quantization", entry.offset),
    ]
    if plan.shared_shifts:
        zeros = np.zeros(plan.shared_shifts, np.int32)
        arrays.append(Array("model_no_shift", "shift of every dense layer's channels", zeros))
    for step in plan.steps:
        arrays += op_of(step.node).arrays(step.node, step)
    return arrays


def _step(step: Step, plan: ExportPlan) -> Context:
    """Symbol, comment and body of the step's function; where it leaves its result."""
    node, op = step.node, op_of(step.node)
    body: Callable[[Context], str] = getattr(_macros(), op.macro)
    shapes = [plan.model.tensors[name].shape for name in (*node.inputs, node.name)]
    comment = f"{node.name}: {', '.join(map(_dims_text, shapes[:-1]))} -> {_dims_text(shapes[-1])}"
    text = str(body(op.call(node, step, plan))).strip("\n")
    output = plan.model.tensors[node.name]
    return {
        "symbol": identifier(node.name),
        "name": string(node.name),
        "comment": comment,
        "body": text,
        "output": plan.arena.offsets[node.name],
        "output_bytes": output.nbytes,
    }


def _dims_text(shape: tuple[int, int, int]) -> str:
    return f"{shape[1]}x{shape[2]}x{shape[0]}"


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("fedtiny.firmware"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


@cache
def _macros() -> Any:
    return _environment().get_template("calls.c.jinja").module
