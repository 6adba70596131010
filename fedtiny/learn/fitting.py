"""An int8 model and what it learns beside it, onto a device's flash and RAM."""

from __future__ import annotations

from dataclasses import replace

from fedtiny.export.report import COUNT_BYTES
from fedtiny.firmware.lower import with_side
from fedtiny.firmware.planner import DoesNotFitError, Fit, Target, fit
from fedtiny.firmware.side_net import SideNet
from fedtiny.quant.integer_model import IntegerGraph


def fit_learning(model: IntegerGraph, side: SideNet, target: Target) -> Fit:
    """The plan for ``model`` with ``side`` on ``target``.

    Learner, slots and the window that is learned from are taken off the target first; the fit's
    target is what they leave.

    Raises:
        DoesNotFitError: they alone do not fit; the message says what would.
    """
    ram = side.learner_bytes + model.input.nbytes * COUNT_BYTES
    left = replace(
        target,
        name=f"{target.name} beside learning by {side.method} ({ram:,} B of RAM, "
        f"{side.flash_bytes:,} B of flash)",
        flash_bytes=_rest(target, "flash", target.flash_bytes, side.flash_bytes, side),
        arena_bytes=_rest(target, "RAM", target.arena_bytes, ram, side),
    )
    plain = fit(model, left)
    plan = with_side(plain.plan, side)
    if left.arena_bytes is not None and plan.arena.nbytes > left.arena_bytes:
        # Lower bands of rows, by as much as the side net's maps take beside them.
        margin = plan.arena.nbytes - plain.plan.arena.nbytes
        lower = fit(model, replace(left, arena_bytes=max(0, left.arena_bytes - margin)))
        plan = with_side(lower.plan, side)
    problems = plain.problems
    if not problems and left.arena_bytes is not None and plan.arena.nbytes > left.arena_bytes:
        problems = (
            f"RAM: the arena with the maps that {side.method} reads takes {plan.arena.nbytes:,} "
            f"of {left.arena_bytes:,} B; learn by head, or choose a smaller input",
        )
    return Fit(left, plan, problems)


def _rest(target: Target, what: str, there: int | None, taken: int, side: SideNet) -> int | None:
    if there is not None and taken > there:
        holds = "the untrained start and two slots" if what == "flash" else "learner and window"
        raise DoesNotFitError(
            f"{target.name}: learning by {side.method} takes {taken:,} of {there:,} B of {what} "
            f"({holds} of {side.parameters:,} parameters); learn by head, or a model whose "
            "classifier reads fewer features"
        )
    return None if there is None else there - taken
