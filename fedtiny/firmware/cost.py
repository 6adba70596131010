"""Predicted instructions of a step: what the planner chooses by.

Each kernel's prediction is a sum of a few counted quantities (those of the op,
:class:`fedtiny.firmware.ops.op.FirmwareOp`) times coefficients of the core
(:mod:`fedtiny.firmware.cost_table`), which were fitted to measurements. Instructions are not
cycles.
"""

from __future__ import annotations

from fedtiny.firmware.cores import Core
from fedtiny.firmware.cost_table import COEFFICIENTS
from fedtiny.firmware.ops.table import op_of
from fedtiny.firmware.plan import Step
from fedtiny.quant.integer_model import IntegerGraph


def predict(step: Step, model: IntegerGraph, core: Core) -> int:
    """Predicted instructions of ``step`` for one input."""
    family, values = op_of(step.node).quantities(step.node, step, model, core)
    coefficients = COEFFICIENTS[core][family]
    return round(sum(c * v for c, v in zip(coefficients, values, strict=True)))
