"""What the doctor found, as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.table import Column, Table

from fedtiny.doctor.boards import BoardReport
from fedtiny.doctor.environment import Check
from fedtiny.doctor.modes import Mode, Verdict, sentences
from fedtiny.escaping.terminal import Screen, terminal_text
from fedtiny.memory.ledger import format_bytes


def print_environment(checks: Sequence[Check]) -> None:
    """What this machine has, and how to get what it lacks."""
    table = Table("", "this machine", _folded("found"), _folded("to get it"))
    for check in checks:
        mark = terminal_text(*(("yes", "green") if check.ok else ("no", "yellow")))
        table.add_row(mark, check.name, check.detail, "" if check.ok else check.fix)
    Screen().print(table)


def _folded(header: str) -> Column:
    return Column(header, overflow="fold")


def print_boards(reports: Sequence[BoardReport]) -> None:
    """What each board can do, a line each, and below why not."""
    table = Table(
        Column("board", no_wrap=True),
        "trains",
        "micro-batch",
        "peak",
        "budget",
        "adapts",
        "runs",
        "flash",
        "arena",
    )
    for row in reports:
        training, run = row.training, row.run
        table.add_row(
            row.profile.name,
            "yes" if training.possible else "no",
            str(training.micro_batch or ""),
            format_bytes(training.prediction.peak_bytes) if training.prediction else "",
            format_bytes(training.budget_bytes) if training.budget_bytes else "",
            next((one.how for one in row.modes if one.mode is Mode.ADAPT and one.fits), "no"),
            "yes" if run.possible else "no",
            format_bytes(run.flash_bytes),
            format_bytes(run.arena_bytes),
        )
    console = Screen()
    console.print(table)
    console.print("Flash and arena are estimates before export; code and stack come on top.")
    for row in reports:
        if again := row.training.recompute:
            console.say(f"- {row.profile.name} recomputes {', '.join(again)} to fit its budget")
    print_modes({row.profile.name: row.modes for row in reports})


def print_modes(modes: Mapping[str, Sequence[Verdict]]) -> None:
    """What every board, or group of them, may do, and why not the rest."""
    for name, verdicts in modes.items():
        for sentence in sentences(name, verdicts):
            Screen().say(f"- {sentence}")
