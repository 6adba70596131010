"""Nested parts in width and density: ours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from typing_extensions import override

from fedtiny.tiers.policy import THIN, Policy
from fedtiny.tiers.tier import Tier


class Nested(Policy):
    """Each device trains the first channels of every layer, as many as its memory holds.

    Channels are sorted by importance once, so that the first ones are the best; masks are denser
    in narrower parts (d · w^−γ), because a narrow net of few weights is better denser; where a
    deadline or flash binds, a part keeps its largest weights only. Small ⊂ large ⊂ global.
    With ``tiers.smaller_parts`` a device trains the smaller parts, too, see
    :mod:`fedtiny.federation.dropout`.
    """

    name: ClassVar[str] = "nested"

    @property
    @override
    def slope(self) -> float:
        return self.config.slope

    @property
    @override
    def sorts(self) -> bool:
        return self.config.sort

    @property
    @override
    def drops(self) -> bool:
        return self.config.smaller_parts

    @override
    def ladder(self) -> Iterator[Sequence[Tier]]:
        return self.by_width(THIN)
