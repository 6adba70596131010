"""What goes into an exported model and comes out, for people."""

from __future__ import annotations

from dataclasses import dataclass

from fedtiny.errors import FedTinyError
from fedtiny.escaping.c_prefix import check_prefix
from fedtiny.escaping.free_text import MAX_CHARACTERS, check_free_text
from fedtiny.quant.integer_model import IntegerGraph

GENERIC_PREFIX = "model"
"""Of the names that ``model.h`` gives to every model."""


@dataclass(frozen=True, slots=True)
class SensorInterface:
    """What goes in and comes out, for people.

    Attributes:
        labels: name of each class.
        channels: name of each input channel.
        units: what the counts of each channel measure, e.g. ``"acceleration, 1/4096 g"``.
        prefix: of the model's names in C; two models in one program have different ones.
    """

    labels: tuple[str, ...]
    channels: tuple[str, ...]
    units: tuple[str, ...]
    prefix: str = GENERIC_PREFIX

    @property
    def unit(self) -> str:
        """Name of the model to build systems and package managers."""
        generic = self.prefix == GENERIC_PREFIX
        return "fedtiny_model" if generic else f"fedtiny_model_{self.prefix}"

    def check(self, model: IntegerGraph) -> None:
        """Raise FedTinyError unless each class and channel has a name that can be shown."""
        check_prefix(self.prefix)
        for what, names, count in (
            ("labels", self.labels, model.output.shape[0]),
            ("channels", self.channels, model.input.shape[0]),
            ("units", self.units, model.input.shape[0]),
        ):
            if len(names) != count:
                raise FedTinyError(f"{what}: the model has {count}, {len(names)} names were given")
            for i, name in enumerate(names):
                # A unit comes with its scale: that much longer than what was written.
                check_free_text(f"{what}[{i}]", name[:MAX_CHARACTERS])

    @classmethod
    def numbered(cls, model: IntegerGraph, units: str) -> SensorInterface:
        """Classes and channels by number, all channels in ``units``."""
        channels = model.input.shape[0]
        return cls(
            tuple(f"class {i}" for i in range(model.output.shape[0])),
            tuple(f"channel {i}" for i in range(channels)),
            (units,) * channels,
        )
