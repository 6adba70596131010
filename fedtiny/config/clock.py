"""The simulated clock of a run, and what it needs of the rest of a config."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from fedtiny.config.sections import DevicesConfig, FederationConfig
from fedtiny.settings import Count, Section


class ClockConfig(Section):
    """Simulated time, of a fleet's links, boards and availability; real devices have their own.

    Attributes:
        mode: ``off``; ``synchronous``: a round waits for its devices, for enough of them
            (``federation.over_selection``), or until its deadline; ``buffered``: devices are given
            tasks as they become free, and every ``buffer`` replies make a new version, which is
            what a round then is (FedBuff).
        deadline_s: simulated seconds after which a round is over, or in ``buffered`` a task given
            up; 0: never, and then devices may not drop out.
        buffer: replies that make a version, in ``buffered``.
        concurrency: tasks on their way at a time, in ``buffered``.
        server_rate: η, by which a version moves along the mean of its replies, in ``buffered``.
    """

    mode: Literal["off", "synchronous", "buffered"] = "off"
    deadline_s: Annotated[float, Field(ge=0, le=1e9)] = 0.0
    buffer: Count = 4
    concurrency: Count = 8
    server_rate: Annotated[float, Field(gt=0, le=10)] = 1.0

    @property
    def is_on(self) -> bool:
        """Whether there is simulated time."""
        return self.mode != "off"

    def check(
        self, devices: DevicesConfig, federation: FederationConfig, partitions: int, adjusts: bool
    ) -> None:
        """See that the rest of a config has what the clock needs.

        Args:
            devices, federation: of the config.
            partitions: of the run.
            adjusts: the method changes masks while it trains.

        Raises:
            ValueError: it has not; the message names key and remedy.
        """
        if not self.is_on:
            return
        if not devices.groups:
            raise ValueError(
                "clock.mode: simulated time is of a fleet's links and boards: name a fleet's file "
                "in devices.fleet"
            )
        lossy = [one.name for one in devices.groups if one.availability.may_fail]
        if lossy and not self.deadline_s:
            raise ValueError(
                f"clock.deadline_s: devices of group {lossy[0]!r} may drop out, and without a "
                "deadline a server waits for them for ever; give one"
            )
        if self.mode == "buffered":
            self._check_buffered(federation, partitions, adjusts)

    def _check_buffered(self, federation: FederationConfig, partitions: int, adjusts: bool) -> None:
        if adjusts:
            raise ValueError(
                "clock.mode = 'buffered': steps from several versions have one mask only if the "
                "method keeps it; choose one that does not adjust masks while it trains, e.g. "
                "pruning.method = 'magnitude', or clock.mode = 'synchronous'"
            )
        if federation.clients_per_round or federation.over_selection:
            raise ValueError(
                "clock.mode = 'buffered': clock.concurrency says how many train at a time; leave "
                "federation.clients_per_round and over_selection at 0"
            )
        if self.buffer + self.concurrency - 1 > partitions:
            raise ValueError(
                f"clock.buffer = {self.buffer} and clock.concurrency = {self.concurrency} need "
                f"{self.buffer + self.concurrency - 1} devices, as one whose reply waits in the "
                f"buffer is not asked again; data.partitions = {partitions}"
            )
