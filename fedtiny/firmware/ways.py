"""Every way to compute a node: kernel, weight format, band height; with scratch, flash and cost."""

from __future__ import annotations

from dataclasses import replace

from fedtiny.firmware import cost
from fedtiny.firmware.cores import Core
from fedtiny.firmware.ops.table import op_of
from fedtiny.firmware.plan import Step
from fedtiny.quant.integer_model import IntegerGraph, IntegerNode


def ways(
    node: IntegerNode, model: IntegerGraph, core: Core, scratch_limit_bytes: int
) -> list[Step]:
    """Every way to compute ``node``: for a layer dense first, then sparse in each format.

    Args:
        node: of the model.
        model: whole.
        core: whose instructions are predicted.
        scratch_limit_bytes: sparse kernels take the highest band of rows that keeps within it,
            or one row if even that needs more.
    """
    steps = op_of(node).ways(node, model, core, scratch_limit_bytes)
    return [replace(step, instructions=cost.predict(step, model, core)) for step in steps]
