"""Activation ranges of several devices, joined: two numbers a tensor leave each of them."""

from __future__ import annotations

from collections.abc import Iterable

from fedtiny.quant.ranges import Ranges, check_ranges
from fedtiny.quant.tensors import QuantizationError


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
