"""What a fleet's devices hold and how long they take, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Column, Table

from fedtiny.doctor.fleet import Kind, Question
from fedtiny.escaping.terminal import Screen
from fedtiny.memory.ledger import LedgerLine, format_bytes


def print_fleet(kinds: Sequence[Kind], question: Question) -> None:
    """A row for each group, the ledger line by line, and why a group is refused."""
    console = Screen()
    console.say(
        f"{question.model}, density {question.density:g}, batch {question.batch}, "
        f"{question.epochs} epochs of {question.samples} samples"
    )
    console.print(_held(kinds))
    console.print(_ledger(kinds))
    for kind in kinds:
        if kind.ledger and kind.ledger.step.recompute:
            again = ", ".join(kind.ledger.step.recompute)
            console.say(f"- {kind.group} recomputes {again} to fit its budget")
    for kind in kinds:
        if kind.sustained:
            console.say(f"- {kind.group} trains at {kind.sustained}")
    for kind in kinds:
        if kind.refused:
            console.say(f"- {kind.group} is refused: {kind.refused}")
        for tier, reason in kind.passed_over.items():
            console.say(f"- {kind.group} does not train {tier}: {reason}")
    console.say(
        "Seconds are simulated, of the device in the middle and of the slowest; bytes are payload, "
        "Flower's framing apart; flash is an estimate."
    )


def _held(kinds: Sequence[Kind]) -> Table:
    table = Table(
        Column("group", overflow="fold"),
        Column("device", overflow="fold"),
        *(Column(name, justify="right") for name in ("count", "width", "density", "micro-batch")),
        *(Column(name, justify="right") for name in ("s/round", "slowest")),
        *(Column(name, justify="right") for name in ("down", "train", "up")),
        *(Column(name, justify="right") for name in ("received", "sent", "flash")),
    )
    for kind in kinds:
        seconds, traffic = kind.seconds, kind.traffic
        parts = (seconds.down, seconds.compute, seconds.up) if seconds else ()
        table.add_row(
            kind.group,
            kind.device,
            str(kind.count),
            f"{kind.width:g}",
            f"{kind.density:.3g}",
            f"{kind.ledger.step.micro_batch} of {kind.ledger.batch}" if kind.ledger else "",
            f"{seconds.total:.3g}" if seconds else "refused" if kind.refused else "",
            f"{kind.slowest_s:.3g}" if kind.slowest_s is not None else "",
            *(f"{part:.3g}" for part in parts or ()),
            *([] if parts else [""] * 3),
            format_bytes(traffic.down) if traffic else "",
            format_bytes(traffic.up) if traffic else "",
            format_bytes(kind.flash_bytes),
        )
    return table


def _ledger(kinds: Sequence[Kind]) -> Table:
    table = Table("ledger", *(Column(k.group, justify="right", overflow="fold") for k in kinds))
    entries = [kind.ledger for kind in kinds]
    for line in LedgerLine:
        sizes = [entry.lines.get(line, 0) if entry else None for entry in entries]
        table.add_row(line.value, *("" if size is None else format_bytes(size) for size in sizes))
    table.add_section()
    peaks = [format_bytes(entry.predicted_peak_bytes) if entry else "" for entry in entries]
    table.add_row("peak", *peaks)
    table.add_row("budget", *(format_bytes(kind.budget_bytes) for kind in kinds))
    return table
