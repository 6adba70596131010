"""What an exported model takes, in whole and by layer."""

from __future__ import annotations

from dataclasses import dataclass

from fedtiny.firmware.plan import ExportPlan, Step
from fedtiny.firmware.side_net import SideNet
from fedtiny.quant.integer_model import IntegerLayer

COUNT_BYTES = 2
"""Of one raw count."""


@dataclass(frozen=True, slots=True)
class LayerReport:
    """One step of the exported model.

    Attributes:
        name: of the node.
        kernel: C function that computes it.
        format: how its weights are stored; None if it has none.
        density: non-zero int8 weights / weights; None if it has none.
        flash_bytes: its weights and quantization parameters.
        scratch_bytes: working memory of the kernel, inside the arena.
        live_bytes: arena bytes in use while it runs, scratch included.
        instructions: predicted for the core the plan was made for.
    """

    name: str
    kernel: str
    format: str | None
    density: float | None
    flash_bytes: int
    scratch_bytes: int
    live_bytes: int
    instructions: int


@dataclass(frozen=True, slots=True)
class LearnReport:
    """What a project takes that learns, beside what classifying takes.

    Attributes:
        method: what is learned.
        parameters: numbers that are learned.
        learner_bytes: RAM of weights, gradients and the optimizer's moments.
        window_bytes: RAM of the counts that are learned from.
        ram_bytes: these and the arena: all but the stack.
        flash_bytes: the untrained start and two slots for learned weights.
    """

    method: str
    parameters: int
    learner_bytes: int
    window_bytes: int
    ram_bytes: int
    flash_bytes: int


@dataclass(frozen=True, slots=True)
class FirmwareReport:
    """Sizes of an exported model.

    Attributes:
        flash_bytes: weights and quantization parameters; code is apart.
        arena_bytes: all RAM the model needs but for the stack.
        code_bytes: machine code of the model and the kernels it calls, as ``compiler`` builds it
            for this host.
        compiler: first line of its version.
        vectors: test windows in the project.
        layers: in execution order.
        learn: of a project that learns.
    """

    flash_bytes: int
    arena_bytes: int
    code_bytes: int
    compiler: str
    vectors: int
    layers: tuple[LayerReport, ...]
    learn: LearnReport | None = None


def learn_report(plan: ExportPlan, side: SideNet) -> LearnReport:
    """What learning takes."""
    window = plan.model.input.nbytes * COUNT_BYTES
    return LearnReport(
        side.method,
        side.parameters,
        side.learner_bytes,
        window,
        plan.arena.nbytes + side.learner_bytes + window,
        side.flash_bytes,
    )


def layer_reports(plan: ExportPlan) -> tuple[LayerReport, ...]:
    """What each step costs."""
    return tuple(map(_layer_report, plan.steps, plan.arena.live_bytes))


def _layer_report(step: Step, live_bytes: int) -> LayerReport:
    weight_format, density = None, None
    if isinstance(step.node, IntegerLayer):
        weight_format = "int8" if step.streams is None else step.streams.format.name
        density = step.node.weight.density
    return LayerReport(
        step.node.name,
        step.kernel.value,
        weight_format,
        density,
        step.flash_bytes,
        step.scratch_bytes,
        live_bytes,
        step.instructions,
    )
