"""What a board has, and what it may do in a federation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fedtiny.sensing.sensor import Sensor


@dataclass(frozen=True, slots=True)
class DeviceProfile:
    """One board.

    Attributes:
        name: catalogue key, e.g. ``"esp32_s3"``.
        title: for humans.
        core: processor core.
        flash_bytes: program memory; None where it is a card of the user's choice.
        ram_internal_bytes: on the chip.
        ram_external_bytes: on the board: PSRAM, SDRAM, a Linux board's main memory.
        clock_hz: highest rated core clock.
        uplink: how it reaches the server; empty if it has no network of its own.
        uplink_bps: nominal link rate, bit/s; None if the maker states none.
        training_budget_bytes: what one training step may use; 0 if the board does not train.
            See ``catalog.toml`` for the share of RAM this is.
        runs: whether the exported model may be deployed on it.
        sustained_flops: float32 FLOP/s that our engine keeps up while it trains, on one core; None
            if nobody states it: then nothing here needs time, and what does refuses the board.
        sensor: its camera; None if it has none, or nobody says.
        raw_data_may_leave: its user allows that what it records is sent, encoded: the policy that
            mode ``encode`` needs.
        sources: where each number comes from, by field (``"flash"``, ``"ram_external"`` …);
            what begins with "assumed" nobody measured.
    """

    name: str
    title: str
    core: str
    flash_bytes: int | None
    ram_internal_bytes: int
    ram_external_bytes: int
    clock_hz: int
    uplink: str
    uplink_bps: int | None
    training_budget_bytes: int
    runs: bool
    sustained_flops: float | None
    sources: Mapping[str, str]
    sensor: Sensor | None = None
    raw_data_may_leave: bool = False

    @property
    def trains(self) -> bool:
        """Whether it can be a training client."""
        return self.training_budget_bytes > 0

    @property
    def ram_bytes(self) -> int:
        """Internal and external RAM together."""
        return self.ram_internal_bytes + self.ram_external_bytes
