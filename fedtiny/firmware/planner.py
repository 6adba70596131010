"""The planner: an integer model onto a device's flash and RAM with the fewest instructions.

1. What is left of RAM beside the tensors alive at a step bounds that step's scratch, hence the
   height of the bands in which its kernel works.
2. Each node takes the way with the fewest predicted instructions
   (:func:`fedtiny.firmware.lower.fastest`).
3. While flash overflows, the layer that gives back most bytes for each instruction lost takes
   its next smaller way.

A model that does not fit is refused with what would make it fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fedtiny.devices.flash import CODE_RESERVE_BYTES
from fedtiny.devices.profile import DeviceProfile
from fedtiny.errors import FedTinyError
from fedtiny.firmware.arena import Arena, plan_arena
from fedtiny.firmware.cores import CORES, Core, core_of
from fedtiny.firmware.lower import SCRATCH_LIMIT_BYTES, assemble, fastest
from fedtiny.firmware.plan import ExportPlan, Step
from fedtiny.firmware.ways import ways
from fedtiny.models.ops import INPUT
from fedtiny.quant.integer_model import IntegerGraph

RAM_RESERVE_BYTES = 8 * 1024
"""RAM kept for the stack (the self-test uses 1.3 KB of it) and the program around the model."""


_ATTEMPTS = 4


class DoesNotFitError(FedTinyError):
    """The model does not fit the device; the message says what would make it fit."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a plan is made for.

    Attributes:
        name: for messages.
        core: whose instructions are predicted.
        flash_bytes: for weights and quantization parameters; None for no limit.
        arena_bytes: for tensors and scratch; None for no limit.

    >>> from fedtiny.bench.synthetic import integer_model
    >>> from fedtiny.models import smartwatch_cnn
    >>> model = integer_model(smartwatch_cnn((6, 1, 128), 7), density=0.05)  # random weights
    >>> small = Target("our wrist band", Core.M4, flash_bytes=16_384, arena_bytes=16_384)
    >>> fitted = fit(model, small)
    >>> fitted.plan.flash_bytes <= 16_384, fitted.plan.arena.nbytes <= 16_384, fitted.problems
    (True, True, ())
    """

    name: str
    core: Core
    flash_bytes: int | None = None
    arena_bytes: int | None = None


ANY_CORTEX_M4 = Target("any Cortex-M4", Core.M4)
"""The target of an export that names no device."""


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """A plan and what it leaves of its target.

    Attributes:
        target: the device.
        plan: the best that was found.
        problems: what does not fit and what would make it; empty if the plan fits.
    """

    target: Target
    plan: ExportPlan
    problems: tuple[str, ...]

    @property
    def flash_left_bytes(self) -> int | None:
        """Flash beside weights and the reserve for code; negative if they do not fit."""
        limit = self.target.flash_bytes
        return None if limit is None else limit - self.plan.flash_bytes

    @property
    def ram_left_bytes(self) -> int | None:
        """RAM beside the arena and the reserve; negative if they do not fit."""
        limit = self.target.arena_bytes
        return None if limit is None else limit - self.plan.arena.nbytes

    def require(self) -> ExportPlan:
        """The plan.

        Raises:
            DoesNotFitError: there are problems.
        """
        if self.problems:
            raise DoesNotFitError(f"{self.target.name}: " + "; ".join(self.problems))
        return self.plan


def target_of(profile: DeviceProfile) -> Target:
    """A board of the catalogue as a target; the model stays in internal RAM.

    Raises:
        FedTinyError: a board that runs Linux: it needs no C project.
    """
    if profile.flash_bytes is None:
        raise FedTinyError(f"{profile.name} is no microcontroller; choose one to export for")
    return Target(
        profile.name,
        core_of(profile.core),
        profile.flash_bytes - CODE_RESERVE_BYTES,
        profile.ram_internal_bytes - RAM_RESERVE_BYTES,
    )


def target_of_core(name: str) -> Target:
    """Any board with a core of :data:`fedtiny.firmware.cores.CORES`, without limits.

    >>> target_of_core("m33")
    Target(name='any Cortex-M33', core=<Core.M4: 'm4'>, flash_bytes=None, arena_bytes=None)

    Raises:
        FedTinyError: no such core.
    """
    key = name.lower().removeprefix("cortex-")
    if key not in CORES:
        raise FedTinyError(f"no core is called {name!r}; choose from {', '.join(CORES)}")
    return Target(f"any Cortex-{key.upper()}", CORES[key])


def fit(model: IntegerGraph, target: Target) -> Fit:
    """The plan for ``model`` on ``target``, and whether it fits."""
    margin = 0
    plan = _plan(model, target, margin)
    for _ in range(_ATTEMPTS):
        left = 0 if target.arena_bytes is None else target.arena_bytes - plan.arena.nbytes
        if left >= 0:
            break
        # Gaps between buffers count too: ask for smaller scratch and lay the arena out again.
        margin -= left
        retry = _plan(model, target, margin)
        plan = min(plan, retry, key=lambda p: p.arena.nbytes)
    return Fit(target, plan, tuple(_problems(plan, target)))


def _plan(model: IntegerGraph, target: Target, margin: int) -> ExportPlan:
    """The fastest steps whose scratch leaves ``margin`` bytes of RAM beside the live tensors."""
    live = plan_arena(model, {}).live_bytes
    limits = [_scratch_limit(target, nbytes + margin) for nbytes in live]
    choices = [
        _within(ways(node, model, target.core, limit), limit)
        for node, limit in zip(model.nodes, limits, strict=True)
    ]
    return assemble(model, _shrunk(list(map(fastest, choices)), choices, model, target))


def _scratch_limit(target: Target, live_bytes: int) -> int:
    if target.arena_bytes is None:
        return SCRATCH_LIMIT_BYTES
    return max(0, min(SCRATCH_LIMIT_BYTES, target.arena_bytes - live_bytes))


def _within(steps: Sequence[Step], limit: int) -> Sequence[Step]:
    """Those within the scratch limit; all of them if there are none, for the report to refuse."""
    return [step for step in steps if step.scratch_bytes <= limit] or steps


def _shrunk(
    steps: Sequence[Step], choices: Sequence[Sequence[Step]], model: IntegerGraph, target: Target
) -> Sequence[Step]:
    """Steps changed for smaller ones, cheapest first, until the flash suffices or none is left."""
    chosen = list(steps)
    if target.flash_bytes is None:
        return chosen
    while _flash_bytes(model, chosen) > target.flash_bytes:
        swaps = [
            (_price(step, other), i, other)
            for i, step in enumerate(chosen)
            for other in choices[i]
            if other.flash_bytes < step.flash_bytes
        ]
        if not swaps:
            break
        _, i, smaller = min(swaps, key=lambda swap: swap[0])
        chosen[i] = smaller
    return chosen


def _flash_bytes(model: IntegerGraph, steps: Sequence[Step]) -> int:
    return ExportPlan(model, tuple(steps), Arena({}, 0, ())).flash_bytes


def _price(step: Step, smaller: Step) -> float:
    """Instructions lost for each byte of flash won."""
    return (smaller.instructions - step.instructions) / (step.flash_bytes - smaller.flash_bytes)


def _problems(plan: ExportPlan, target: Target) -> list[str]:
    problems = []
    if target.flash_bytes is not None and plan.flash_bytes > target.flash_bytes:
        problems.append(_flash_problem(plan, target.flash_bytes))
    if target.arena_bytes is not None and plan.arena.nbytes > target.arena_bytes:
        problems.append(_ram_problem(plan, target.arena_bytes))
    return problems


def _flash_problem(plan: ExportPlan, limit: int) -> str:
    largest = max(plan.steps, key=lambda step: step.flash_bytes)
    weights = sum(layer.weight.nnz for layer in plan.model.layers)
    keep = max(0, int(weights * (1 - (plan.flash_bytes - limit) / plan.flash_bytes)))
    return (
        f"flash: weights take {plan.flash_bytes:,} of {limit:,} B, most of it layer "
        f"{largest.node.name} ({largest.flash_bytes:,} B); prune from {weights:,} to about "
        f"{keep:,} weights"
    )


def _ram_problem(plan: ExportPlan, limit: int) -> str:
    step = max(range(len(plan.steps)), key=lambda i: plan.arena.live_bytes[i])
    node = plan.steps[step].node
    tensors = [*node.inputs, node.name]
    sizes = ", ".join(f"{name} {plan.model.tensors[name].nbytes:,} B" for name in tensors)
    return (
        f"RAM: the arena takes {plan.arena.nbytes:,} of {limit:,} B; at layer {node.name} "
        f"{plan.arena.live_bytes[step]:,} B are alive ({sizes}, scratch "
        f"{plan.steps[step].scratch_bytes:,} B); choose a smaller input than "
        f"{'x'.join(map(str, plan.model.tensors[INPUT].shape))} or fewer channels there"
    )
