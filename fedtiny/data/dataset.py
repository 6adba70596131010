"""What every source yields: labelled sensor counts."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.errors import DataError
from fedtiny.data.labels import check_names
from fedtiny.errors import FedTinyError
from fedtiny.escaping.free_text import check_free_text

MAX_OWNER = 2**53 - 1
"""Of ids: reports are JSON, whose readers are exact up to here."""

Counts = NDArray[np.int16] | NDArray[np.uint8]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class SensorSpec:
    """How the integers a sensor delivers become physical: ``value = counts * scale``.

    Attributes:
        channels: name of each of the C channels.
        units: physical unit of each channel, ``"1"`` where there is none.
        scale: physical units per count of each channel, > 0.
    """

    channels: tuple[str, ...]
    units: tuple[str, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        if not len(self.channels) == len(self.units) == len(self.scale):
            raise DataError(
                f"sensor: {len(self.channels)} channel names, {len(self.units)} units and "
                f"{len(self.scale)} scales; give one of each per channel"
            )
        try:
            for name in self.channels:
                check_free_text("a channel's name", name)
            for unit in self.units:
                check_free_text("a channel's unit", unit)
        except FedTinyError as error:
            raise DataError(f"sensor: {error}") from error
        if not all(0 < scale < float("inf") for scale in self.scale):
            raise DataError(f"sensor: every scale must be positive and finite, got {self.scale}")


@dataclass(frozen=True, eq=False)
class Dataset:
    """N labelled samples, kept as the integers the sensor delivered; arrays are read-only.

    Attributes:
        x: counts, (N, C, H, W), int16 or uint8. Time series have H = 1 and W = time.
        y: class of each sample, (N,) int64 in [0, len(labels)).
        owner: person (or other natural owner) of each sample, (N,) int64 in [0, MAX_OWNER].
        labels: name of each class, no two alike.
        sensor: the meaning of the C channels.

    >>> data = Dataset(np.zeros((3, 1, 1, 8), np.int16), np.array([0, 1, 1]),
    ...                np.array([7, 7, 9]), ("still", "moving"),
    ...                SensorSpec(("ax",), ("g",), (0.001,)))
    >>> len(data), data.input_shape, data.take(np.array([2])).owner.tolist()
    (3, (1, 1, 8), [9])
    """

    x: Counts
    y: Indices
    owner: Indices
    labels: tuple[str, ...]
    sensor: SensorSpec

    def __post_init__(self) -> None:
        check_names(self.labels)
        if self.x.ndim != 4 or self.x.dtype not in (np.int16, np.uint8):
            raise DataError(
                f"x must be (N, C, H, W) int16 or uint8, got {self.x.shape} {self.x.dtype}"
            )
        if self.y.shape != (len(self.x),) or self.owner.shape != (len(self.x),):
            raise DataError(
                f"x has {len(self.x)} samples, y {self.y.shape} and owner {self.owner.shape}"
            )
        if self.x.shape[1] != len(self.sensor.channels):
            raise DataError(
                f"x has {self.x.shape[1]} channels, the sensor {len(self.sensor.channels)}"
            )
        for name in ("x", "y", "owner"):
            view = getattr(self, name).view()  # the caller's own array stays writable
            view.flags.writeable = False
            object.__setattr__(self, name, view)

    def __len__(self) -> int:
        return len(self.x)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of one sample."""
        _, channels, height, width = self.x.shape
        return channels, height, width

    def take(self, indices: Indices) -> "Dataset":
        """The samples at these rows, in this order, as a copy."""
        return Dataset(
            self.x[indices], self.y[indices], self.owner[indices], self.labels, self.sensor
        )


def concatenate(parts: tuple[Dataset, ...]) -> Dataset:
    """The samples of all parts, in order.

    Raises:
        DataError: no part, or parts with other labels or another sensor than the first.
    """
    if not parts:
        raise DataError("nothing to concatenate")
    first = parts[0]
    for part in parts:
        if (part.labels, part.sensor) != (first.labels, first.sensor):
            raise DataError("parts of one data set must share their labels and their sensor")
    return Dataset(
        np.concatenate([part.x for part in parts]),
        np.concatenate([part.y for part in parts]),
        np.concatenate([part.owner for part in parts]),
        first.labels,
        first.sensor,
    )
