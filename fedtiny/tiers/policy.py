"""What makes one way to share a model out among unequal devices differ from another."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from fedtiny.models.graph import Graph
from fedtiny.tiers.config import TiersConfig
from fedtiny.tiers.tier import WHOLE, Tier

THIN = tuple(n / 8 for n in range(8, 0, -1))
"""Shares of a part's weights that are tried where link, time or flash bind."""


@dataclass(frozen=True)
class Policy(ABC):
    """One way. All are pure; one file each, one line in :data:`fedtiny.tiers.policies.POLICIES`.

    Attributes:
        config: the run's ``[tiers]``.
        density: of the run's masks, in (0, 1].
    """

    name: ClassVar[str]
    """Value of ``tiers.policy``."""
    reranks: ClassVar[bool] = False
    """Weights are ranked anew every round, not only when masks change."""
    across: ClassVar[bool] = False
    """Which weights a thinner part keeps is decided over all layers together."""

    config: TiersConfig
    density: float

    @property
    def setting(self) -> str:
        """What in a config asks for it, for messages."""
        return f"tiers.policy = {self.name!r}"

    def of(self, graph: Graph) -> Policy:  # noqa: ARG002 - for those whose parts depend on it
        """The policy with the parts of ``graph``, which is of full width."""
        return self

    @property
    def slope(self) -> float:
        """γ of the densities d · w^−γ in the masks, see :class:`fedtiny.tiers.rings.Rings`."""
        return 0.0

    @property
    def sorts(self) -> bool:
        """Whether channels are put in order of importance first."""
        return False

    @property
    def drops(self) -> bool:
        """Whether devices train smaller parts than their own in some rounds."""
        return False

    @property
    def moves(self) -> bool:
        """Whether what a device trains of the model changes while masks do not."""
        return bool(self.reranks or self.drops or self.shift(1) or self.config.restore)

    @abstractmethod
    def ladder(self) -> Iterator[Sequence[Tier]]:
        """What a device may hold, the most wanted width first, and of each the densest first.

        It takes the first that fits.
        """

    def assign(self, own: Mapping[int, Tier | None]) -> dict[int, Tier]:
        """What each device trains; who is missing takes no part in training.

        Args:
            own: by partition, the best that a device can hold; None if nothing fits it.
        """
        return {partition: tier for partition, tier in own.items() if tier is not None}

    def alike(self, own: Mapping[int, Tier | None]) -> dict[int, Tier]:
        """:meth:`assign` of policies that give everybody one part: the smallest of those held."""
        able = {partition: tier for partition, tier in own.items() if tier is not None}
        return dict.fromkeys(able, min(able.values())) if able else {}

    def contenders(self, largest: Tier) -> list[Tier]:  # noqa: ARG002 - for those that compare
        """Parts of which devices choose one for all before round 1, widest first; empty: none do.

        Args:
            largest: that every device can hold.
        """
        return []

    def shift(self, round: int) -> int:  # noqa: ARG002 - for those that move parts
        """By how many channels parts are moved in ``round``."""
        return 0

    def by_width(self, shares: tuple[float, ...] = (1.0,)) -> Iterator[Sequence[Tier]]:
        """Parts of all widths, each at its density in the masks, then at ``shares`` of it."""
        for width in self.config.widths:
            densest = min(1.0, self.density * width**-self.slope)
            thinner = [Tier(width, share * densest) for share in shares[1:]]
            yield [WHOLE if width == 1 else Tier(width, densest), *thinner]
