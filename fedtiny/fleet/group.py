"""Groups of equal devices, and which partition each of their devices holds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from fedtiny.errors import FedTinyError
from fedtiny.escaping.file_name import check_file_name
from fedtiny.fleet.availability import Availability, AvailabilitySection
from fedtiny.fleet.link import Link, LinkSection
from fedtiny.settings import MOST, CountOrNone, Section

_Bytes = Annotated[int, Field(gt=0, lt=2**53)]


class Group(Section):
    """Devices of one kind.

    Attributes:
        name: of the group, for events and tables.
        device: catalogue name of their board.
        count: how many there are; they hold the partitions that no group names, group after group.
        partitions: those they hold, instead of ``count``.
        budget_bytes: a training budget that replaces the board's own. A board that the catalogue
            does not let train does with it.
        flash_bytes: replaces the board's own.
        sustained_flops: replaces the board's own rate while it trains, FLOP/s.
        sustained_source: where that is from; begins with "assumed" if nobody measured it.
        link: to the server; None: whatever needs time refuses the group.
        availability: when its devices are there.
    """

    name: str
    device: str
    count: CountOrNone = 0
    partitions: tuple[Annotated[int, Field(ge=0, lt=MOST)], ...] = ()
    budget_bytes: _Bytes | None = None
    flash_bytes: _Bytes | None = None
    sustained_flops: Annotated[float, Field(gt=0, le=1e15)] | None = None
    sustained_source: str = ""
    link: LinkSection | None = None
    availability: AvailabilitySection = Field(default_factory=AvailabilitySection)

    @field_validator("name")
    @classmethod
    def _can_be_shown(cls, name: str) -> str:
        try:
            return check_file_name("a group's name", name)
        except FedTinyError as error:
            raise ValueError(str(error)) from None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.count) == bool(self.partitions):
            raise ValueError("give count, or partitions: how many devices, or which")
        if len(set(self.partitions)) < len(self.partitions):
            raise ValueError("partitions: one is named twice")
        if (self.sustained_flops is None) != (not self.sustained_source):
            raise ValueError(
                "sustained_flops needs sustained_source, and the other way round: where the number "
                'is from, e.g. "assumed: 0.25 FLOP a cycle"'
            )
        return self

    @property
    def size(self) -> int:
        """Number of devices."""
        return self.count or len(self.partitions)


@dataclass(frozen=True, slots=True)
class Seat:
    """One device of a fleet.

    Attributes:
        group: it belongs to.
        member: which of the group's devices it is, from 0.
        partition: that it holds.
    """

    group: Group
    member: int
    partition: int

    def link(self, seed: int) -> Link | None:
        """Its link in a run of this seed."""
        section = self.group.link
        return Link.of(section, self.member, self.partition, seed) if section else None

    def availability(self, seed: int) -> Availability:
        """When it is there in a run of this seed."""
        return Availability.of(self.group.availability, self.member, self.partition, seed)


@lru_cache(maxsize=16)
def seats(groups: tuple[Group, ...]) -> tuple[Seat, ...]:
    """The devices of a fleet by partition, 0 on.

    Raises:
        ValueError: two groups of one name or with one partition, or a partition beyond the fleet.

    >>> pis = Group(name="pis", device="pi_5", count=2)
    >>> boards = Group(name="boards", device="esp32_s3", partitions=(1,))
    >>> [seat.group.name for seat in seats((pis, boards))]
    ['pis', 'boards', 'pis']
    """
    names = [group.name for group in groups]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"two groups are called {twice[0]!r}; give each its own name")
    total = sum(group.size for group in groups)
    taken: dict[int, Seat] = {}
    for group in groups:
        for member, partition in enumerate(group.partitions):
            if partition >= total:
                raise ValueError(
                    f"group {group.name!r} names partition {partition}, but the fleet has {total} "
                    f"devices: partitions 0 to {total - 1}"
                )
            if partition in taken:
                raise ValueError(
                    f"groups {taken[partition].group.name!r} and {group.name!r} both name "
                    f"partition {partition}"
                )
            taken[partition] = Seat(group, member, partition)
    free = iter([k for k in range(total) if k not in taken])
    for group in groups:
        for member in range(group.count):
            partition = next(free)
            taken[partition] = Seat(group, member, partition)
    return tuple(taken[k] for k in range(total))
