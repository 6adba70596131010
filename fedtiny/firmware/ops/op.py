"""What the firmware must know of an op, and what all calls have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from fedtiny.firmware.arena import scratch_name
from fedtiny.firmware.cores import Core
from fedtiny.firmware.plan import ExportPlan, Step
from fedtiny.firmware.text import Array
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.tensors import Int8Tensor

Node = TypeVar("Node")

Call = Mapping[str, Any]
"""Variables of a macro of ``calls.c.jinja``."""

Quantities = tuple[str, tuple[float, ...]]
"""A kernel's family and its counts: see :mod:`fedtiny.firmware.cost_table`."""


@dataclass(frozen=True, slots=True)
class FirmwareOp(Generic[Node]):
    """An op's half of the firmware.

    Attributes:
        ways: ``(node, model, core, scratch limit)`` to steps, without their instructions.
        quantities: ``(node, step, model, core)`` to what the kernel's instructions grow with.
        arrays: ``(node, step)`` to the constants in flash, the step's ``flash_bytes`` together.
        macro: of ``calls.c.jinja`` that writes the body of the step's C function.
        call: ``(node, step, plan)`` to the macro's variables.
    """

    ways: Callable[[Node, IntegerGraph, Core, int], Iterable[Step]]
    quantities: Callable[[Node, Step, IntegerGraph, Core], Quantities]
    arrays: Callable[[Node, Step], list[Array]]
    macro: str
    call: Callable[[Node, Step, ExportPlan], Call]


def no_arrays(node: object, step: Step) -> list[Array]:
    """Of an op without constants."""
    return []


def common_call(step: Step, plan: ExportPlan) -> dict[str, Any]:
    """The variables that every macro takes."""
    return {
        "function": step.kernel.value,
        "dense": step.calls_cmsis_nn,
        "output": plan.arena.offsets[step.node.name],
        "output_offset": plan.model.tensors[step.node.name].zero_point,
        "scratch_bytes": step.scratch_bytes,
        "scratch_offset": plan.arena.offsets.get(scratch_name(step.node.name), 0),
    }


def nhwc(tensor: Int8Tensor) -> tuple[int, int, int, int]:
    """(1, H, W, C) of one sample."""
    channels, height, width = tensor.shape
    return (1, height, width, channels)
