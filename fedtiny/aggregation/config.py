"""The settings of trust: what the server believes of what a device sends."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from fedtiny.aggregation.combiner import Combine, Combiner
from fedtiny.settings import MOST, CountOrNone, Section


class TrustConfig(Section):
    """Bounds on what one device can do to the model. Malformed replies are refused in any case.

    Attributes:
        update_factor: an update this many times as long as the round's median is left out of the
            round; running statistics and growth reports likewise at five times as much. 0: never.
        samples_factor: a device weighs at most this many times the median device, whatever number
            of samples it claims. 0: no cap.
        max_offences: a device whose replies were refused or left out so often is not asked again.
            0: it always is.
        combine: how devices' parameters become one: ``mean`` weighs by samples (FedAvg);
            ``trimmed_mean`` and ``median`` are taken per weight over the devices that hold it, each
            counting once.
        trim: share of the smallest and of the largest values that a trimmed mean drops.
    """

    update_factor: Annotated[float, Field(ge=0, le=MOST)] = 6.0
    samples_factor: Annotated[float, Field(ge=0, le=MOST)] = 10.0
    max_offences: CountOrNone = 3
    combine: Combine = Combine.MEAN
    trim: Annotated[float, Field(ge=0, lt=0.5)] = 0.2

    @field_validator("update_factor", "samples_factor")
    @classmethod
    def _spares_the_median(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("leaves out the median device itself: at least 1, or 0 for no bound")
        return value

    @property
    def combiner(self) -> Combiner:
        """What ``combine`` and ``trim`` say."""
        return Combiner(self.combine, self.trim)
