"""Element-wise functions in C: one table of 256 bytes in flash, in place where the input dies."""

from __future__ import annotations

from collections.abc import Iterator

from fedtiny.firmware.cores import Core
from fedtiny.firmware.ops.op import Call, FirmwareOp, Quantities, common_call
from fedtiny.firmware.plan import ExportPlan, Kernel, Step
from fedtiny.firmware.text import Array, identifier
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.lookup import IntegerLookup


def ways(node: IntegerLookup, model: IntegerGraph, core: Core, limit: int) -> Iterator[Step]:
    """The one kernel."""
    yield Step(node, Kernel.LOOKUP, flash_bytes=node.table.nbytes)


def quantities(node: IntegerLookup, step: Step, model: IntegerGraph, core: Core) -> Quantities:
    """Outputs, one call."""
    return "lookup", (model.tensors[node.name].nbytes, 1)


def arrays(node: IntegerLookup, step: Step) -> list[Array]:
    """The table."""
    return [Array(_table_name(node), f"{node.name}: output of each code, -128 first", node.table)]


def call(node: IntegerLookup, step: Step, plan: ExportPlan) -> Call:
    """The variables of the macro ``lookup``."""
    return common_call(step, plan) | {
        "input": plan.arena.offsets[node.input],
        "table": _table_name(node),
        "elements": plan.model.tensors[node.name].nbytes,
    }


def _table_name(node: IntegerLookup) -> str:
    return f"model_{identifier(node.name)}_table"


OP = FirmwareOp(ways, quantities, arrays, "lookup", call)
