"""Full width for everybody, thinner masks for the weak."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from typing_extensions import override

from fedtiny.tiers.policy import Policy
from fedtiny.tiers.tier import WHOLE, Tier

SHARES = (1.0, 0.5, 0.25, 0.125, 0.0625)
"""Of the mask's weights."""


class DensityOnly(Policy):
    """Each device trains the largest |θ| of the masks, as many as fit it, layer by layer.

    The ranking is that of the last adjustment, so parts are stable. All channels stay, and with
    them the activations: a device that cannot hold those takes no part.
    """

    name: ClassVar[str] = "density"

    @override
    def ladder(self) -> Iterator[Sequence[Tier]]:
        yield [WHOLE, *(Tier(1.0, share * self.density) for share in SHARES[1:])]
