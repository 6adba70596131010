"""Additions in C: by tables of both operands' rescaled codes, in place of a dying operand."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from fedtiny.firmware.cores import Core
from fedtiny.firmware.ops.op import Call, FirmwareOp, Quantities, common_call, no_arrays
from fedtiny.firmware.plan import ExportPlan, Kernel, Step
from fedtiny.firmware.workspace import ADD_TABLES_BYTES
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.add import ADD_LEFT_SHIFT, IntegerAdd


def ways(node: IntegerAdd, model: IntegerGraph, core: Core, limit: int) -> Iterator[Step]:
    """The one kernel."""
    yield Step(node, Kernel.ADD, scratch_bytes=ADD_TABLES_BYTES)


def quantities(node: IntegerAdd, step: Step, model: IntegerGraph, core: Core) -> Quantities:
    """Outputs, one call."""
    family = "add" if node.shifts is None else "add_shifted"
    return family, (prod(model.tensors[node.name].shape), 1)


def call(node: IntegerAdd, step: Step, plan: ExportPlan) -> Call:
    """The variables of the macro ``add``."""
    tensors, offsets = plan.model.tensors, plan.arena.offsets
    return common_call(step, plan) | {
        "left": offsets[node.left],
        "right": offsets[node.right],
        "left_offset": -tensors[node.left].zero_point,
        "right_offset": -tensors[node.right].zero_point,
        "left_multiplier": node.left_multiplier,
        "right_multiplier": node.right_multiplier,
        "left_shift": ADD_LEFT_SHIFT,
        "multiplier": node.multiplier,
        "shifts": node.shifts or (0, 0, 0),
        "clamp": node.clamp,
        "elements": tensors[node.name].nbytes,
    }


OP = FirmwareOp(ways, quantities, no_arrays, "add", call)
