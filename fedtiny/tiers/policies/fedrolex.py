"""FedRolex: a window of channels that rolls on (Alam, Liu, Yan, Zhang, NeurIPS 2022)."""

from __future__ import annotations

from typing import ClassVar

from typing_extensions import override

from fedtiny.tiers.policies.heterofl import HeteroFl


class FedRolex(HeteroFl):
    """As HeteroFL, but every round the kept channels begin one further, around the end.

    So every channel is trained by everybody in turn. Different from the paper as HeteroFL is; a
    device is evaluated with the window it trained last.
    """

    name: ClassVar[str] = "fedrolex"

    @override
    def shift(self, round: int) -> int:
        return round
