"""HeteroFL: slices of width (Diao, Ding, Tarokh, ICLR 2021)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import ClassVar

from typing_extensions import override

from fedtiny.tiers.policy import Policy
from fedtiny.tiers.tier import Tier


class HeteroFl(Policy):
    """The first channels of every layer, in the order the model happens to have.

    Different from the paper: the slices are of the run's sparse model, so that all policies have
    the same budget; its "scaler" of activations is left out, because a batch norm follows every
    layer that is cut and takes it away again; and batch-norm statistics are kept for every width,
    like here for everybody, where the paper estimates one set for all after training. Its masking
    of absent classes' logits is not used.
    """

    name: ClassVar[str] = "heterofl"

    @override
    def ladder(self) -> Iterator[Sequence[Tier]]:
        return self.by_width()
