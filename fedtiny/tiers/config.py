"""The settings of tiers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from itertools import pairwise
from typing import Annotated

from pydantic import Field, field_validator

from fedtiny.settings import Count, CountOrNone, Fraction, Section


class PolicyName(StrEnum):
    """Who trains which part of the model, see :mod:`fedtiny.tiers.policies`."""

    NONE = "none"
    NESTED = "nested"
    SHAPES = "shapes"
    WEAKEST = "weakest"
    EXCLUDE = "exclude"
    DENSITY = "density"
    HETEROFL = "heterofl"
    FEDROLEX = "fedrolex"
    FIARSE = "fiarse"


class GlobalPart(StrEnum):
    """Which part of the model is the federation's result."""

    LARGEST = "largest"
    CHOSEN = "chosen"


class TiersConfig(Section):
    """Which part of the model each device trains.

    Attributes:
        policy: ``none``: everybody all of it, and a device that it does not fit is refused.
            ``nested``: each the largest part, in width and density, that fits it. ``shapes``: all
            the same part, which devices choose among those of as many weights. The others are what
            these are compared with; each is described in its file in ``fedtiny/tiers/policies/``.
        widths: shares of every layer's channels that a part may have.
        slope: γ of ``nested``: a part of width w has the density d · w^−γ in a model of density d,
            1 at most. 0: the model's own.
        smaller_parts: whether devices of ``nested`` train smaller parts than their own, too: each
            round one of those that they could, all as likely, so that small parts see everybody's
            samples (ordered dropout: Horváth et al. 2021, FjORD); in the first round and the last
            one everybody trains its own.
        sort: whether ``nested`` puts the channels in order of importance before it cuts.
        min_micro_batch: parts that fit with fewer samples at a time only are passed over: batch
            norm's statistics get noisy.
        headroom: share of a device's budget, and of ``clock.deadline_s``, that its part leaves
            free: masks will not be as even over the layers as a plan before the first round has to
            assume.
        global_part: which part is the global model. ``largest``: that anybody trains. ``chosen``:
            that of the lowest loss on devices' development samples; they are asked whenever the
            model is evaluated.
        contest_epochs: passes over the server's public samples that every shape is trained for,
            its masks fixed, before devices compare them.
        restore: share of a part's weights by the round from which on it is trained; ``{}``: all of
            them, always. FedGMR (arXiv 2512.05372) begins with few and ends with all.
    """

    policy: PolicyName = PolicyName.NONE
    widths: Annotated[tuple[Fraction, ...], Field(min_length=1)] = (
        1.0, 0.75, 0.5, 0.375, 0.25, 0.125,
    )  # fmt: skip
    slope: Annotated[float, Field(ge=0, le=2)] = 1.0
    smaller_parts: bool = False
    sort: bool = True
    min_micro_batch: Count = 4
    headroom: Annotated[float, Field(ge=0, lt=1)] = 0.05
    global_part: GlobalPart = GlobalPart.LARGEST
    contest_epochs: CountOrNone = 40
    restore: Mapping[Count, Fraction] = Field(default_factory=dict)

    @field_validator("widths")
    @classmethod
    def _descend(cls, widths: tuple[float, ...]) -> tuple[float, ...]:
        if widths[0] != 1 or any(a <= b for a, b in pairwise(widths)):
            raise ValueError("must begin with 1.0, the whole model, and descend")
        return widths

    @field_validator("restore")
    @classmethod
    def _ends_with_all(cls, restore: Mapping[int, float]) -> Mapping[int, float]:
        shares = [restore[round] for round in sorted(restore)]
        if shares and (shares[-1] != 1 or shares != sorted(shares)):
            raise ValueError("shares must ascend with the rounds and end with 1.0")
        return restore

    @property
    def is_on(self) -> bool:
        """Whether devices may train parts."""
        return self.policy is not PolicyName.NONE

    def share(self, round: int) -> float:
        """Of a part's weights that is trained in ``round``.

        >>> config = TiersConfig(restore={1: 0.25, 10: 1.0})
        >>> config.share(9), config.share(10), TiersConfig().share(1)
        (0.25, 1.0, 1.0)
        """
        begun = [start for start in self.restore if start <= round]
        if begun:
            return self.restore[max(begun)]
        return self.restore[min(self.restore)] if self.restore else 1.0
