"""Weak devices left out: who cannot hold all of the model takes no part in training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from typing_extensions import override

from fedtiny.tiers.policy import Policy
from fedtiny.tiers.tier import WHOLE, Tier


class Exclude(Policy):
    """The whole model or nothing. Who is left out still gets the result."""

    name: ClassVar[str] = "exclude"

    @override
    def ladder(self) -> Iterator[Sequence[Tier]]:
        yield [WHOLE]
