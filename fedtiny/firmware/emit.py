"""C text of a plan: pure functions, one per generated file. Nothing is written here."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from markupsafe import Markup

import fedtiny
from fedtiny.firmware.arena import ALIGNMENT
from fedtiny.firmware.interface import GENERIC_PREFIX, SensorInterface
from fedtiny.firmware.learn_text import learn_context
from fedtiny.firmware.ops.table import op_of
from fedtiny.firmware.plan import ExportPlan, Step
from fedtiny.firmware.render import Context, c_macros, render
from fedtiny.firmware.text import Array, check_unique, identifier, real
from fedtiny.models.ops import INPUT
from fedtiny.quant.integer_model import INPUT_SHIFT

CODE = ("model.c", "model_weights.h", "model_weights.c", "main.c", "Makefile")
"""Generated files that a build of the self-test needs, beside the headers."""

LEARNING = ("learn.c", "learn_start.c", "learn_main.c")
"""Generated files of a project that learns, beside ``<prefix>_learn.h``."""

PACKAGING = (
    "CMakeLists.txt",
    "library.json",
    "zephyr/module.yml",
    "zephyr/Kconfig",
    "zephyr/CMakeLists.txt",
    "examples/zephyr/CMakeLists.txt",
    "examples/zephyr/prj.conf",
    "examples/zephyr/src/main.c",
    "examples/arduino/platformio.ini",
    "examples/arduino/src/main.cpp",
)
"""Generated files for build systems and boards: CMake, PlatformIO, Zephyr, Arduino."""

FUNCTIONS = ("init", "input", "output", "quantize_input", "invoke", "run_step", "classify")
"""What a model can do: names behind its prefix."""

NAMES = ("labels", "channels", "units", "step_names")
"""Its arrays of names."""

MACROS = (
    *("INPUT_HEIGHT", "INPUT_WIDTH", "INPUT_CHANNELS", "INPUT_VALUES"),
    *("INPUT_SCALE", "INPUT_ZERO_POINT", "CLASSES", "OUTPUT_SCALE", "OUTPUT_ZERO_POINT"),
    *("ARENA_BYTES", "ARENA_ALIGNMENT", "STEPS", "OK", "CORRUPT"),
    *("BAD_ARENA", "BAD_ARGUMENT"),
    *("STEP_FAILED", "FAILED_STEP", "KERNEL_STATUS", "MORE_SCRATCH"),
)
"""Its constants: names behind its prefix in capitals."""


def sources(plan: ExportPlan, interface: SensorInterface) -> dict[str, str]:
    """The text of every file that a build needs, by name: :data:`CODE`, the headers, and of a plan
    with something to learn :data:`LEARNING`.

    ``<prefix>.h`` declares the model. The generated code is written in the generic names of
    ``model.h``, which stand for the prefixed ones; with the prefix ``model`` they are the same.
    """
    check_unique(step.node.name for step in plan.steps)
    interface.check(plan.model)
    context = _context(plan, interface)
    headers = {f"{interface.prefix}.h": render("prefix.h", context)}
    if interface.prefix != GENERIC_PREFIX:
        headers["model.h"] = render("model.h", context)
    names: tuple[str, ...] = CODE
    if plan.side is not None:
        headers[f"{interface.prefix}_learn.h"] = render("learn.h", context)
        names += LEARNING
    return headers | {name: render(name, context) for name in names}


def packaging(
    plan: ExportPlan, interface: SensorInterface, runtime_sources: Sequence[str]
) -> dict[str, str]:
    """The text of every file of :data:`PACKAGING` and of the CMSIS-Pack, by path.

    Args:
        plan: the model.
        interface: names for people.
        runtime_sources: paths of the kernels within the project.
    """
    context = {
        **_context(plan, interface),
        "channel_list": ", ".join(interface.channels),
        "headers": dict.fromkeys(["model.h", f"{interface.prefix}.h"]),
        "dense_sources": [name for name in runtime_sources if "/dense/" in name],
        "sparse_sources": [name for name in runtime_sources if "/dense/" not in name],
    }
    pack = {f"FedTiny.{interface.unit}.pdsc": render("pack.pdsc", context)}
    names = PACKAGING if plan.side is None else (*PACKAGING, "examples/learn/main.c")
    return pack | {name: render(name, context) for name in names}


def _context(plan: ExportPlan, interface: SensorInterface) -> Context:
    model, arrays = plan.model, constant_arrays(plan)
    return {
        "version": fedtiny.__version__,
        "name": model.name,
        "p": interface.prefix,
        "P": interface.prefix.upper(),
        "unit": interface.unit,
        "functions": FUNCTIONS,
        "names": NAMES,
        "macros": MACROS,
        "flash_bytes": plan.flash_bytes,
        "arrays": arrays,
        "learn": None if plan.side is None else learn_context(plan, plan.side, arrays),
        "input": model.input,
        "output": model.output,
        "input_scale": real(model.input.scale),
        "output_scale": real(model.output.scale),
        "input_shift": INPUT_SHIFT,
        "arena_bytes": plan.arena.nbytes,
        "alignment": ALIGNMENT,
        "input_offset": plan.arena.offsets[INPUT],
        "output_offset": plan.arena.offsets[model.logits],
        "labels": interface.labels,
        "channels": interface.channels,
        "units": interface.units,
        "steps": [_step(step, plan) for step in plan.steps],
    }


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
    body: Callable[[Context], Markup] = getattr(c_macros(), op.macro)
    shapes = [plan.model.tensors[name].shape for name in (*node.inputs, node.name)]
    comment = f"{node.name}: {', '.join(map(_dims_text, shapes[:-1]))} -> {_dims_text(shapes[-1])}"
    output = plan.model.tensors[node.name]
    return {
        "symbol": identifier(node.name),
        "name": node.name,
        "comment": comment,
        "body": body(op.call(node, step, plan)).strip("\n"),
        "output": plan.arena.offsets[node.name],
        "output_bytes": output.nbytes,
    }


def _dims_text(shape: tuple[int, int, int]) -> str:
    return f"{shape[1]}x{shape[2]}x{shape[0]}"
