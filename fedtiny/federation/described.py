"""What devices said of themselves before round 1, and what may be believed of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from statistics import median
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fedtiny.aggregation.bounds import MIN_REPLIES
from fedtiny.data.statistics import InputStatistics
from fedtiny.runs.fields import Count
from fedtiny.wire.describe import Description
from fedtiny.wire.packet import Packet, WireError
from fedtiny.wire.phase import Phase

Result = TypeVar("Result")

_SPREADS = 6.0
"""A device's mean may lie this many spreads from the median device's. People who wear a sensor
upside down are 4 apart; one stuck at full scale is 8."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """Samples of one device by view: no reply can cover more.

    Attributes:
        train, development, test: numbers of samples.
    """

    train: Count
    development: Count
    test: Count

    def most(self, phase: Phase) -> int:
        """Samples that a reply of ``phase`` can have been made from."""
        if phase in (Phase.CANDIDATE_STATISTICS, Phase.CANDIDATE_LOSSES):
            return self.development
        return self.test if phase is Phase.EVALUATE else self.train


Described = Mapping[int, Sizes]
"""By partition."""


Read = Callable[[int, Packet], Result]
"""(partition, reply) to a result; raises FedTinyError if it is none."""


def counted(described: Described, factor: float, phase: Phase, read: Read[Result]) -> Read[Result]:
    """``read``, of replies that claim a number of samples that can be believed.

    Args:
        described: by partition.
        factor: a reply weighs at most as much as one of this times the median device's samples; 0:
            as much as it claims.
        phase: of the replies.
        read: may raise FedTinyError.

    Returns:
        A function that raises WireError, too: a reply claims more samples than its device has.
    """
    cap = _cap(described, factor, phase)

    def read_counted(partition: int, packet: Packet) -> Result:
        if "count" not in packet.scalars:
            return read(partition, packet)
        count, most = packet.integer("count"), most_samples(described, factor, phase, partition)
        if count > most:
            raise WireError(f"count: {count} samples, but the device described {most}")
        return read(partition, _as_if_of(cap, count, packet))

    return read_counted


def most_samples(described: Described, factor: float, phase: Phase, partition: int) -> int:
    """Samples that a reply can cover: what the device described.

    Of a device that was away when it was to describe itself, as many as one may weigh.
    """
    known = described.get(partition)
    return known.most(phase) if known else _cap(described, factor, phase)


def _cap(described: Described, factor: float, phase: Phase) -> int:
    sizes = [one.most(phase) for one in described.values()]
    if not factor or len(sizes) < MIN_REPLIES:
        return max(sizes)
    return max(1, int(factor * median(sizes)))


def _as_if_of(most: int, count: int, packet: Packet) -> Packet:
    if count <= most:
        return packet
    arrays = dict(packet.arrays)
    if "loss_sums" in arrays:
        arrays["loss_sums"] = arrays["loss_sums"] * (most / count)
    return replace(packet, arrays=arrays, scalars={**packet.scalars, "count": most})


def odd_statistics(descriptions: Mapping[int, Description], factor: float) -> dict[int, str]:
    """The devices whose input statistics are unlike the others', with the reason.

    One sensor stuck at full scale would shift the normalization of everybody.

    Args:
        descriptions: by partition.
        factor: a device may have this times the median device's samples; 0: any number.

    Returns:
        By partition, ascending; empty if there are fewer than three devices with readings.
    """
    read = {k: one for k, one in sorted(descriptions.items()) if one.statistics.count}
    if len(read) < MIN_REPLIES:
        return {}
    means = np.array([_mean(one.statistics) for one in read.values()])
    middle = np.median(means, axis=0)
    inner = np.median([_std(one.statistics) for one in read.values()], axis=0)
    between = 1.4826 * np.median(np.abs(means - middle), axis=0)  # a normal distribution's σ
    spread = np.maximum(np.maximum(inner, between), 1.0)
    distance = np.abs(means - middle) / spread
    samples = median(one.samples for one in read.values())
    reasons = {}
    for (partition, one), away in zip(read.items(), distance, strict=True):
        channel = int(away.argmax())
        if away[channel] > _SPREADS:
            reasons[partition] = (
                f"the mean of its channel {channel} lies {away[channel]:.1f} spreads from the "
                f"median device's, more than {_SPREADS:g}"
            )
        elif factor and one.samples > factor * samples:
            reasons[partition] = (
                f"it claims {one.samples} samples, more than {factor:g} times the median device's"
            )
    return reasons


def _mean(one: InputStatistics) -> npt.NDArray[np.float64]:
    return np.array([int(total) / one.count for total in one.sum])


def _std(one: InputStatistics) -> npt.NDArray[np.float64]:
    squares = np.array([int(total) / one.count for total in one.sum_of_squares])
    return np.sqrt(np.maximum(squares - _mean(one) ** 2, 0))
