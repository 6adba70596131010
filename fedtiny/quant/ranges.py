"""Activation ranges for calibration: a (minimum, maximum) per tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fedtiny.quant.tensors import QuantizationError

Ranges = Mapping[str, tuple[float, float]]
"""(minimum, maximum) of each tensor by name: those of ``Graph.observed``."""


def check_ranges(ranges: Ranges, source: str) -> None:
    """Raise :class:`QuantizationError` naming ``source`` and the tensor if a range is unusable."""
    for name, (low, high) in ranges.items():
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise QuantizationError(
                f"{source}: the range of {name!r} is ({low}, {high}); it must be finite with "
                "minimum <= maximum. Look for NaN in the data or a diverged model."
            )
