"""What devices said of themselves in the run: free memory, temperature, their training's peak."""

from __future__ import annotations

from dataclasses import dataclass

from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.runs.events import DeviceDescribed, Metered
from fedtiny.runs.folder import RunFolder
from fedtiny.wire.measured import Measured


@dataclass(frozen=True, slots=True)
class Vitals:
    """The last that is known of one device.

    Attributes:
        measured: what it measured of itself when the run began; None if it did not yet.
        ledger: its planned training step, with the measured peak once one was metered; None
            without a board.
    """

    measured: Measured | None = None
    ledger: LedgerEntry | None = None


def vitals(folder: RunFolder) -> dict[int, Vitals]:
    """By partition; of a run that never started, nothing."""
    try:
        recording = folder.recording()
    except FedTinyError:
        return {}
    metered = {one.partition: one.ledger for one in recording.of(Metered)}
    return {
        one.partition: Vitals(one.measured, metered.get(one.partition, one.ledger))
        for one in recording.of(DeviceDescribed)
    }
