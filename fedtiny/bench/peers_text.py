"""Peers beside us, for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.table import Table

from fedtiny.bench.peer_cases import CASES, PEERS, Work
from fedtiny.bench.peers import PeerRow, Skipped
from fedtiny.escaping.terminal import Screen, terminal_text


def print_peers(found: Sequence[PeerRow | Skipped], screen: Screen) -> None:
    """A row a measurement, then who was left out and why."""
    table = Table(
        "work", "density", "threads", "peer", "its ms", "our ms", "faster", "its peak", "our peak",
        title="Whole training steps, in turn in one process",
        box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left",
    )  # fmt: skip
    for row in found:
        if isinstance(row, PeerRow):
            table.add_row(
                CASES[Work(row.work)].title,
                f"{row.density:.0%}",
                str(row.threads),
                PEERS[row.peer].title,
                f"{row.ms_peer:.2f}",
                f"{row.ms_ours:.2f}",
                f"{row.speedup:.2f}×",
                f"{row.peak_bytes_peer / 1e6:.1f} MB",
                f"{row.peak_bytes_ours / 1e6:.1f} MB",
            )
    screen.print(table)
    for row in found:
        if isinstance(row, Skipped):
            title = f"{PEERS[row.peer].title}, {CASES[Work(row.work)].title}: "
            screen.print(terminal_text(title, "yellow") + terminal_text(row.reason))
