"""What adapting did and cost, for programs and for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from fedtiny.memory.ledger import LedgerLine, format_bytes
from fedtiny.runs import atomic


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one adapted model.

    Attributes:
        method: what was trained.
        device: board whose budget held.
        accuracy_before, accuracy_after: on recordings that it did not learn from; ``before`` is
            the finished model's.
        recordings, held_out: of each part.
        windows, held_out_windows: cut from these.
        saved_bytes: what a forward pass leaves for the backward pass.
        peak_bytes: of a real step, measured: every array, the batch too.
        predicted_peak_bytes: as planned before.
        budget_bytes: what the board may use.
        lines: the plan by ledger line.
        micro_batch, batch, steps: of learning.
        trained_parameters: numbers that were changed.
        macs: of one window's training pass.
        seconds: that learning took on this machine.
        firmware: of the C project, where one was exported: the fields of
            :class:`fedtiny.export.report.FirmwareReport`, ``target``, ``vectors``, ``mismatches``
            and its ``accuracy`` on the held-out windows.
    """

    method: str
    device: str
    accuracy_before: float
    accuracy_after: float
    recordings: int
    held_out: int
    windows: int
    held_out_windows: int
    saved_bytes: int
    peak_bytes: int
    predicted_peak_bytes: int
    budget_bytes: int
    lines: Mapping[LedgerLine, int]
    micro_batch: int
    batch: int
    steps: int
    trained_parameters: int
    macs: int
    seconds: float
    firmware: Mapping[str, Any] | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain types only; ``firmware`` where there is one."""
        plain = asdict(self) | {"lines": {line.value: size for line, size in self.lines.items()}}
        if self.firmware is None:
            del plain["firmware"]
        return plain

    def write(self, folder: Path) -> None:
        """``adapt.json`` and ``report.md`` into ``folder``."""
        atomic.write(folder / "adapt.json", json.dumps(self.to_json(), indent=1) + "\n")
        atomic.write(folder / "report.md", self.markdown())

    def text(self) -> list[str]:
        """Lines for people."""
        gain = 100 * (self.accuracy_after - self.accuracy_before)
        return [
            f"{self.method}: {100 * self.accuracy_before:.1f} % before, "
            f"{100 * self.accuracy_after:.1f} % after ({gain:+.1f} points) on "
            f"{self.held_out_windows} windows of {self.held_out} recordings it did not learn from",
            f"learned from {self.windows} windows of {self.recordings} recordings: {self.steps} "
            f"steps of {self.batch} windows, {self.micro_batch} at a time; "
            f"{self.trained_parameters:,} numbers trained, {self.macs:,} multiply-accumulates a "
            f"window, {self.seconds:.1f} s on this machine",
            f"memory of a step: {format_bytes(self.peak_bytes)} measured, "
            f"{format_bytes(self.predicted_peak_bytes)} predicted, {self.device} may use "
            f"{format_bytes(self.budget_bytes)}; {format_bytes(self.saved_bytes)} saved for the "
            "backward pass",
            *([] if self.firmware is None else [_in_c(self.firmware, self.accuracy_after)]),
        ]

    def markdown(self) -> str:
        """A page."""
        sizes = "\n".join(f"| {k.value} | {v:,} |" for k, v in self.lines.items() if v)
        body = "\n".join(f"- {line}" for line in self.text())
        return f"# Adapted by {self.method}\n\n{body}\n\n| ledger | bytes |\n|---|---:|\n{sizes}\n"


def _in_c(firmware: Mapping[str, Any], floating: float) -> str:
    return (
        f"in int8 C for {firmware['target']}: {100 * firmware['accuracy']:.1f} % of the held-out "
        f"windows, {100 * floating:.1f} before quantization; {firmware['flash_bytes']:,} B of "
        f"flash, {firmware['mismatches']} mismatches with the integer reference in "
        f"{firmware['vectors']} windows"
    )
