"""How much of the model a device trains: a width and a density."""

from __future__ import annotations

from dataclasses import dataclass

from fedtiny.settings import Fraction


@dataclass(frozen=True, slots=True, order=True)
class Tier:
    """A part of the model in two coordinates.

    Activations fill a training step's memory, so what makes a model fit is fewer channels; fewer
    weights cut bytes sent, flash and FLOPs.

    Attributes:
        width: share of every layer's channels, in (0, 1].
        density: most weights it holds / prunable weights of that width, in (0, 1].

    >>> Tier(0.25, 0.8).is_whole, WHOLE.is_whole, str(Tier(0.25, 0.8))
    (False, True, 'width 0.25, density 0.8')
    """

    width: Fraction
    density: Fraction

    @property
    def is_whole(self) -> bool:
        """Whether it is all of the model, whatever that holds."""
        return self.width == self.density == 1

    def __str__(self) -> str:
        return f"width {self.width:g}, density {self.density:.3g}"


WHOLE = Tier(1.0, 1.0)
"""All channels, and every weight that the global masks have."""
