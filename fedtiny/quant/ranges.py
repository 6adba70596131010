"""Activation ranges for calibration: what each device measures, and how the server joins them.

A range is a (minimum, maximum) per tensor: two numbers leave the device, never a sample.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from fedtiny.quant.tensors import QuantizationError

Ranges = Mapping[str, tuple[float, float]]
"""(minimum, maximum) of each tensor by name: those of ``Graph.observed``."""


def merge_ranges(devices: Iterable[Ranges]) -> dict[str, tuple[float, float]]:
    """The smallest ranges that hold every device's.

    Raises:
        QuantizationError: no device, devices name different tensors, or a range is not finite or
            upside down.

    >>> merge_ranges([{"input": (-1.0, 2.0)}, {"input": (-3.0, 1.0)}])
    {'input': (-3.0, 2.0)}
    """
    merged: dict[str, tuple[float, float]] = {}
    for device, ranges in enumerate(devices):
        check_ranges(ranges, f"device {device}")
        if not merged:
            merged = dict(ranges)
        elif merged.keys() != ranges.keys():
            odd = ", ".join(sorted(merged.keys() ^ ranges.keys()))
            raise QuantizationError(
                f"device {device} measured other tensors than device 0 ({odd}); "
                "all must run the same model"
            )
        else:
            merged = {
                name: (min(low, ranges[name][0]), max(high, ranges[name][1]))
                for name, (low, high) in merged.items()
            }
    if not merged:
        raise QuantizationError("no ranges to merge: calibrate on at least one device")
    return merged


def check_ranges(ranges: Ranges, source: str) -> None:
    """Raise :class:`QuantizationError` naming ``source`` and the tensor if a range is unusable."""
    for name, (low, high) in ranges.items():
        if not (math.isfinite(low) and math.isfinite(high) and low <= high):
            raise QuantizationError(
                f"{source}: the range of {name!r} is ({low}, {high}); it must be finite with "
                "minimum <= maximum. Look for NaN in the data or a diverged model."
            )
