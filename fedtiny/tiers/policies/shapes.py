"""One shape for everybody, found by the federation: ours.

At equal weights neither the widest sparse net nor the narrowest dense one is best: a wide net of
1 % has dead channels and spends its bytes on batch norms and end layers, a narrow one lacks
channels. Where the best lies between them depends on the data and on the budget, so devices are
asked, see :mod:`fedtiny.federation.contest`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

from typing_extensions import override

from fedtiny.tiers.policy import Policy
from fedtiny.tiers.tier import Tier


class Shapes(Policy):
    """All devices train one part of the model, chosen among shapes of as many weights each.

    A part of width w has the density d · w^−2 in a model of density d, which is as many weights;
    once that is 1, the part has fewer. Shapes that some device cannot hold are left out.

    Different from FedTiny's paper: its pool varies how one number of weights is shared out among
    the layers of one network; this one varies the network.
    """

    name: ClassVar[str] = "shapes"

    @property
    @override
    def slope(self) -> float:
        return 2.0

    @override
    def ladder(self) -> Iterator[Sequence[Tier]]:
        return self.by_width()

    @override
    def assign(self, own: Mapping[int, Tier | None]) -> dict[int, Tier]:
        return self.alike(own)

    @override
    def contenders(self, largest: Tier) -> list[Tier]:
        shapes = [tiers[0] for tiers in self.ladder()]
        return [shape for shape in shapes if shape.width <= largest.width]
