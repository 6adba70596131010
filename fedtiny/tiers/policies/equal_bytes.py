"""One shape for everybody, of as many bytes as the model at its density: FedShape's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from typing_extensions import override

from fedtiny.models.graph import Graph
from fedtiny.tiers.equal_bytes import Shape, equal_bytes
from fedtiny.tiers.policy import Policy
from fedtiny.tiers.tier import Tier


@dataclass(frozen=True)
class EqualBytes(Policy):
    """All devices train one part, which the method finds before round 1.

    No ``tiers.policy`` of its own: a method brings it. Until the part is found everybody holds the
    widest that every device can train.

    Attributes:
        most: shapes there are to choose from.
        shapes: of the model, widest first; empty before :meth:`of` was given one.
    """

    name: ClassVar[str] = "equal_bytes"

    most: int
    shapes: tuple[Shape, ...] = ()

    @property
    @override
    def setting(self) -> str:
        return "pruning.method = 'fedshape'"

    @override
    def of(self, graph: Graph) -> EqualBytes:
        return replace(self, shapes=equal_bytes(graph, self.density, self.most))

    @override
    def ladder(self) -> Iterator[Sequence[Tier]]:
        return iter([[shape.tier] for shape in self.shapes])

    @override
    def assign(self, own: Mapping[int, Tier | None]) -> dict[int, Tier]:
        return self.alike(own)
