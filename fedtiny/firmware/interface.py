"""What goes into an exported model and comes out, for people."""

from __future__ import annotations

from dataclasses import dataclass

from fedtiny.errors import FedTinyError
from fedtiny.quant.integer_model import IntegerGraph


@dataclass(frozen=True, slots=True)
class SensorInterface:
    """What goes in and comes out, for people.

    Attributes:
        labels: name of each class.
        channels: name of each input channel.
        units: what the counts of each channel measure, e.g. ``"acceleration, 1/4096 g"``.
    """

    labels: tuple[str, ...]
    channels: tuple[str, ...]
    units: tuple[str, ...]

    def check(self, model: IntegerGraph) -> None:
        """Raise FedTinyError unless there is one name per class and channel."""
        for what, names, count in (
            ("labels", self.labels, model.output.shape[0]),
            ("channels", self.channels, model.input.shape[0]),
            ("units", self.units, model.input.shape[0]),
        ):
            if len(names) != count:
                raise FedTinyError(f"{what}: the model has {count}, {len(names)} names were given")

    @classmethod
    def numbered(cls, model: IntegerGraph, units: str) -> SensorInterface:
        """Classes and channels by number, all channels in ``units``."""
        channels = model.input.shape[0]
        return cls(
            tuple(f"class {i}" for i in range(model.output.shape[0])),
            tuple(f"channel {i}" for i in range(channels)),
            (units,) * channels,
        )
