"""Nearest-neighbour upsampling in C, by a kernel of ours: CMSIS-NN has none."""

from __future__ import annotations

from collections.abc import Iterator

from fedtiny.firmware.cores import Core
from fedtiny.firmware.ops.op import Call, FirmwareOp, Quantities, common_call, nhwc, no_arrays
from fedtiny.firmware.plan import ExportPlan, Kernel, Step
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.upsample import IntegerUpsample


def ways(node: IntegerUpsample, model: IntegerGraph, core: Core, limit: int) -> Iterator[Step]:
    """The one kernel."""
    yield Step(node, Kernel.UPSAMPLE)


def quantities(node: IntegerUpsample, step: Step, model: IntegerGraph, core: Core) -> Quantities:
    """Outputs, cells of widened rows, rows, 1."""
    output = model.tensors[node.name]
    _, rows, columns = output.shape
    return "upsample", (output.nbytes, model.tensors[node.input].shape[1] * columns, rows, 1)


def call(node: IntegerUpsample, step: Step, plan: ExportPlan) -> Call:
    """The variables of the macro ``upsample``."""
    return common_call(step, plan) | {
        "input_dims": nhwc(plan.model.tensors[node.input]),
        "output_dims": nhwc(plan.model.tensors[node.name]),
        "input": plan.arena.offsets[node.input],
    }


OP = FirmwareOp(ways, quantities, no_arrays, "upsample", call)
