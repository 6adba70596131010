"""C text of a plan: pure functions, one per generated file. Nothing is written here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jinja2
import numpy as np

import fedtiny
from fedtiny.errors import FedTinyError
from fedtiny.firmware.arena import ALIGNMENT, scratch_name
from fedtiny.firmware.plan import Kernel, Plan, Step
from fedtiny.firmware.text import Array, check_unique, identifier, real, string
from fedtiny.models.graph import INPUT
from fedtiny.quant.integer_model import (
    ADD_LEFT_SHIFT,
    ADD_MULTIPLIER,
    INPUT_SHIFT,
    INT8_MAX,
    INT8_MIN,
    Activation,
    IntegerAdd,
    IntegerConv,
    IntegerLinear,
    IntegerPool,
)

Context = Mapping[str, Any]
"""Variables of a template."""


@dataclass(frozen=True, slots=True)
class SensorInterface:
    """What goes in and comes out, for people.

    Attributes:
        labels: name of each class.
        channels: name of each input channel.
        units: what the counts of each channel measure, e.g. ``"acceleration, 1/4096 g"``.
    """

    labels: tuple[str, ...]
    channels: tuple[str, ...]
    units: tuple[str, ...]

    def check(self, plan: Plan) -> None:
        """Raise FedTinyError unless there is one name per class and channel."""
        for what, names, count in (
            ("labels", self.labels, plan.model.output.shape[0]),
            ("channels", self.channels, plan.model.input.shape[0]),
            ("units", self.units, plan.model.input.shape[0]),
        ):
            if len(names) != count:
                raise FedTinyError(f"{what}: the model has {count}, {len(names)} names were given")


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


def sources(plan: Plan, interface: SensorInterface) -> dict[str, str]:
    """The text of every file of :data:`CODE`, by name."""
    check_unique(step.node.name for step in plan.steps)
    interface.check(plan)
    context = _context(plan, interface)
    return {name: render(name, context) for name in CODE}


def packaging(
    plan: Plan, interface: SensorInterface, runtime_sources: Sequence[str]
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


def _context(plan: Plan, interface: SensorInterface) -> Context:
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


def constant_arrays(plan: Plan) -> list[Array]:
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
        arrays += _layer_arrays(step)
    return arrays


def _layer_arrays(step: Step) -> list[Array]:
    node = step.node
    if not isinstance(node, IntegerConv | IntegerLinear):
        return []
    name, prefix = node.name, f"model_{identifier(node.name)}"
    arrays = [
        Array(f"{prefix}_bias", f"{name}: bias", node.bias),
        Array(f"{prefix}_multiplier", f"{name}: rescaling, times 2^31", node.multiplier),
    ]
    if step.encoded is None:
        dense = node.weight.to_dense()
        if step.kernel is Kernel.DENSE_DEPTHWISE:
            dense = dense.transpose(3, 1, 2, 0)
        return [Array(f"{prefix}_weights", f"{name}: weights {dense.shape}", dense), *arrays]
    # C has no arrays of length 0: an empty stream is one byte that is never read.
    stream = np.frombuffer(step.encoded.stream or b"\0", np.uint8)
    comment = f"{name}: {node.weight.nnz} weights, {step.encoded.format.name}"
    return [
        Array(f"{prefix}_stream", comment, stream),
        Array(f"{prefix}_entries", f"{name}: entries of each channel", step.encoded.entries),
        *arrays,
    ]


def _step(step: Step, plan: Plan) -> Context:
    """Symbol, comment and body of the step's function; where it leaves its result."""
    node = step.node
    match node:
        case IntegerConv() | IntegerLinear():
            macro, call = "layer", _layer_call(step, node, plan)
        case IntegerAdd():
            macro, call = "add", _add_call(step, node, plan)
        case IntegerPool():
            macro, call = "pool", _pool_call(step, node, plan)
    body: Callable[[Context], str] = getattr(_macros(), macro)
    shapes = [plan.model.activations[name].shape for name in (*node.inputs, node.name)]
    comment = f"{node.name}: {', '.join(map(_dims_text, shapes[:-1]))} -> {_dims_text(shapes[-1])}"
    text = str(body(call)).strip("\n")
    output = plan.model.activations[node.name]
    return {
        "symbol": identifier(node.name),
        "name": string(node.name),
        "comment": comment,
        "body": text,
        "output": plan.arena.offsets[node.name],
        "output_bytes": output.nbytes,
    }


def _layer_call(step: Step, node: IntegerConv | IntegerLinear, plan: Plan) -> Context:
    source, output = plan.model.activations[node.input], plan.model.activations[node.name]
    out, height, width, inner = node.weight.shape
    if isinstance(node, IntegerConv):
        input_dims, output_dims = _nhwc(source), _nhwc(output)
        stride, padding = node.stride, node.padding
    else:
        input_dims, output_dims = (1, 1, 1, inner), (1, 1, 1, out)
        stride, padding = (1, 1), (0, 0)
    filter_dims = (out, height, width, inner)
    params = "cmsis_nn_conv_params"
    if step.kernel in (Kernel.DENSE_DEPTHWISE, Kernel.SPARSE_DEPTHWISE):
        params, filter_dims = "cmsis_nn_dw_conv_params", (1, height, width, out)
    elif step.kernel is Kernel.SPARSE_LINEAR:
        params, filter_dims = "cmsis_nn_fc_params", (inner, 1, 1, out)
    call = {
        "params_type": params,
        "input_offset": -source.zero_point,
        "channel_multiplier": out // source.shape[0],
        "stride": stride,
        "padding": padding,
        "input_dims": input_dims,
        "filter_dims": filter_dims,
        "bias_dims": (1, 1, 1, out),
        "output_dims": output_dims,
        "input": plan.arena.offsets[node.input],
        "clamp": node.clamp,
        "prefix": f"model_{identifier(node.name)}",
    }
    if step.encoded is not None:
        call["format"] = f"FEDTINY_FORMAT_{step.encoded.format.name}"
        call["max_nonzeros"] = step.encoded.max_nonzeros
        call["stream_bytes"] = len(step.encoded.stream)
    return call | _common_call(step, plan)


def _add_call(step: Step, node: IntegerAdd, plan: Plan) -> Context:
    tensors, offsets = plan.model.activations, plan.arena.offsets
    return {
        "left": offsets[node.left],
        "right": offsets[node.right],
        "left_offset": -tensors[node.left].zero_point,
        "right_offset": -tensors[node.right].zero_point,
        "left_multiplier": node.left_multiplier,
        "right_multiplier": node.right_multiplier,
        "left_shift": ADD_LEFT_SHIFT,
        "multiplier": ADD_MULTIPLIER,
        "clamp": node.clamp,
        "elements": tensors[node.name].nbytes,
    } | _common_call(step, plan)


def _pool_call(step: Step, node: IntegerPool, plan: Plan) -> Context:
    source, output = plan.model.activations[node.input], plan.model.activations[node.name]
    return {
        "stride": node.stride,
        "input_dims": _nhwc(source),
        "filter_dims": (1, *node.kernel, 1),
        "output_dims": _nhwc(output),
        "input": plan.arena.offsets[node.input],
        "clamp": (INT8_MIN, INT8_MAX),
    } | _common_call(step, plan)


def _common_call(step: Step, plan: Plan) -> dict[str, Any]:
    return {
        "function": step.kernel.value,
        "dense": step.calls_cmsis_nn,
        "output": plan.arena.offsets[step.node.name],
        "output_offset": plan.model.activations[step.node.name].zero_point,
        "scratch_bytes": step.scratch_bytes,
        "scratch_offset": plan.arena.offsets.get(scratch_name(step.node.name), 0),
    }


def _nhwc(tensor: Activation) -> tuple[int, int, int, int]:
    channels, height, width = tensor.shape
    return (1, height, width, channels)


def _dims_text(shape: tuple[int, int, int]) -> str:
    return f"{shape[1]}x{shape[2]}x{shape[0]}"


def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("fedtiny.firmware"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )


def _macros() -> Any:
    return _environment().get_template("calls.c.jinja").module
