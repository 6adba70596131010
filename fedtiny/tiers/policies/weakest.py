"""All at the weakest: one model, made for the smallest device (FedTiny as its paper has it)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from typing_extensions import override

from fedtiny.tiers.policy import THIN, Policy
from fedtiny.tiers.tier import Tier


class Weakest(Policy):
    """Everybody trains the part that the weakest device holds, and that part is the global model.

    It gets as many weights as the masks of the other policies have in all, as far as its width has
    room for them: the strongest model of its kind.
    """

    name: ClassVar[str] = "weakest"

    @property
    @override
    def slope(self) -> float:
        return 2.0

    @override
    def ladder(self) -> Iterator[Sequence[Tier]]:
        return self.by_width(THIN)

    @override
    def assign(self, own: Mapping[int, Tier | None]) -> dict[int, Tier]:
        return self.alike(own)
