"""The mean over a map in C, by a kernel of ours."""

from __future__ import annotations

from collections.abc import Iterator

from fedtiny.firmware.cores import Core
from fedtiny.firmware.ops.op import Call, FirmwareOp, Quantities, common_call, no_arrays
from fedtiny.firmware.plan import ExportPlan, Kernel, Step
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.quant.ops.mean import IntegerMean


def ways(node: IntegerMean, model: IntegerGraph, core: Core, limit: int) -> Iterator[Step]:
    """The one kernel."""
    yield Step(node, Kernel.MEAN)


def quantities(node: IntegerMean, step: Step, model: IntegerGraph, core: Core) -> Quantities:
    """Values read, outputs."""
    return "mean", (model.tensors[node.input].nbytes, model.tensors[node.name].nbytes)


def call(node: IntegerMean, step: Step, plan: ExportPlan) -> Call:
    """The variables of the macro ``mean``."""
    source = plan.model.tensors[node.input]
    channels, height, width = source.shape
    return common_call(step, plan) | {
        "input": plan.arena.offsets[node.input],
        "cells": height * width,
        "channels": channels,
        "input_offset": -source.zero_point,
        "multiplier": node.multiplier,
        "shift": node.shift,
        "clamp": node.clamp,
    }


OP = FirmwareOp(ways, quantities, no_arrays, "mean", call)
