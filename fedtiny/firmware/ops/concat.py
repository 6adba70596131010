"""Joined channels in C: every input is copied between the others, by its table if it has one."""

from __future__ import annotations

from collections.abc import Iterator

from fedtiny.firmware.cores import Core
from fedtiny.firmware.ops.op import Call, FirmwareOp, Quantities, common_call
from fedtiny.firmware.plan import ExportPlan, Kernel, Step
from fedtiny.firmware.text import Array, identifier
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.concat import IntegerConcat


def ways(node: IntegerConcat, model: IntegerGraph, core: Core, limit: int) -> Iterator[Step]:
    """The one kernel."""
    flash = sum(table.nbytes for table in node.tables if table is not None)
    yield Step(node, Kernel.CONCAT, flash_bytes=flash)


def quantities(node: IntegerConcat, step: Step, model: IntegerGraph, core: Core) -> Quantities:
    """Values with a table, values without, positions of every input."""
    tensors = [model.tensors[name] for name in node.inputs]
    by_table, copied, positions = 0, 0, 0
    for tensor, table in zip(tensors, node.tables, strict=True):
        by_table += 0 if table is None else tensor.nbytes
        copied += tensor.nbytes if table is None else 0
        positions += tensor.nbytes // tensor.shape[0]
    return "concat", (by_table, copied, positions)


def arrays(node: IntegerConcat, step: Step) -> list[Array]:
    """The tables."""
    return [
        Array(_table_name(node, i), f"{node.name}: codes of input {i}, -128 first", table)
        for i, table in enumerate(node.tables)
        if table is not None
    ]


def call(node: IntegerConcat, step: Step, plan: ExportPlan) -> Call:
    """The variables of the macro ``concat``."""
    parts, first = [], 0
    output = plan.model.tensors[node.name]
    for i, (name, table) in enumerate(zip(node.inputs, node.tables, strict=True)):
        channels = plan.model.tensors[name].shape[0]
        parts.append(
            {
                "input": plan.arena.offsets[name],
                "channels": channels,
                "table": "NULL" if table is None else _table_name(node, i),
                "output": plan.arena.offsets[node.name] + first,
            }
        )
        first += channels
    cells = output.shape[1] * output.shape[2]
    return common_call(step, plan) | {"parts": parts, "cells": cells, "channels": output.shape[0]}


def _table_name(node: IntegerConcat, part: int) -> str:
    return f"model_{identifier(node.name)}_table{part}"


OP = FirmwareOp(ways, quantities, arrays, "concat", call)
