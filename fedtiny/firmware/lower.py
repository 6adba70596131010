"""From an integer model to a plan, by a policy: a function from ways to compute a node to one.

:func:`fastest` is the default. The planner (:mod:`fedtiny.firmware.planner`) adds a device's
limits; tests force kernels and formats.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from fedtiny.firmware.arena import plan_arena
from fedtiny.firmware.cores import Core
from fedtiny.firmware.plan import ExportPlan, Step
from fedtiny.firmware.side_net import SideNet
from fedtiny.firmware.ways import ways
from fedtiny.quant.integer_model import IntegerGraph

SCRATCH_LIMIT_BYTES = 64 * 1024
"""Default bound on a kernel's scratch: bands of rows are chosen to stay within it."""

FLASH_TOLERANCE = 0.02
"""Share of a layer's instructions worth giving for a smaller weight stream."""

DENSE_MARGIN = 0.1
"""Share of the dense kernel's instructions that a sparse one must be predicted to save."""

Policy = Callable[[Sequence[Step]], Step]
"""Chooses among the ways to compute one node; the dense kernel, if it takes the layer, is first."""


def fastest(steps: Sequence[Step]) -> Step:
    """Least flash among those within 2 % of the fewest predicted instructions.

    The dense kernel is kept unless a sparse one is predicted to need a tenth less: predictions
    are off by that much.
    """
    fewest = min(step.instructions for step in steps)
    first = steps[0]
    if first.streams is None and first.instructions * (1 - DENSE_MARGIN) < fewest:
        return first
    near = (step for step in steps if step.instructions <= (1 + FLASH_TOLERANCE) * fewest)
    return min(near, key=lambda step: (step.flash_bytes, step.instructions, step.scratch_bytes))


def dense(steps: Sequence[Step]) -> Step:
    """CMSIS-NN's kernel for every layer whose shape it takes."""
    return steps[0]


def lower(
    model: IntegerGraph,
    policy: Policy = fastest,
    scratch_limit_bytes: int = SCRATCH_LIMIT_BYTES,
    core: Core = Core.M4,
) -> ExportPlan:
    """A plan for ``model``.

    Args:
        model: the integer model.
        policy: chooses each node's kernel and weight format.
        scratch_limit_bytes: sparse kernels work in bands of rows that keep within it; a layer
            for which a single row needs more takes that.
        core: whose instructions are predicted.
    """
    chosen = [policy(ways(node, model, core, scratch_limit_bytes)) for node in model.nodes]
    return assemble(model, chosen)


def assemble(model: IntegerGraph, steps: Sequence[Step]) -> ExportPlan:
    """The plan of chosen steps, one for each node in order; lays out the arena."""
    arena = plan_arena(model, {step.node.name: step.scratch_bytes for step in steps})
    return ExportPlan(model, tuple(steps), arena)


def with_side(plan: ExportPlan, side: SideNet) -> ExportPlan:
    """The same plan with something to learn beside it, its buffers in the arena."""
    scratch = {step.node.name: step.scratch_bytes for step in plan.steps}
    arena = plan_arena(plan.model, scratch, side.buffers(plan.model))
    return replace(plan, arena=arena, side=side)
