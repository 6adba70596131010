"""Sums over clients, in the given order: the same replies always give the same bytes."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from fedtiny.errors import FedTinyError
from fedtiny.sparse.tensor import Floats, Indices

Covers = Callable[[Indices], npt.NDArray[np.bool_]]
"""Which of some flat positions a device holds or could hold."""


class AggregateError(FedTinyError):
    """Replies cannot be combined; the message names the reply by its place in the order."""


def weighted_mean(arrays: Sequence[Floats], weights: Sequence[float]) -> Floats:
    """Σ w_k x_k / Σ w_k, summed in the given order in float64 (FedAvg).

    Args:
        arrays: float arrays of one shape, one per client.
        weights: one per array, not negative, not all 0; usually |D_k|.

    Returns:
        float32 of the same shape.

    Raises:
        AggregateError: no arrays, unequal shapes or lengths, a bad weight, a value not finite.

    >>> weighted_mean([np.float32([1, 2]), np.float32([4, 8])], [1, 2]).tolist()
    [3.0, 6.0]
    """
    total = _checked_total(len(arrays), weights)
    result = np.zeros(arrays[0].shape, np.float64)
    for k, (array, weight) in enumerate(zip(arrays, weights, strict=True)):
        if array.shape != result.shape:
            raise AggregateError(f"reply {k} has shape {array.shape}, reply 0 {result.shape}")
        _check_finite(k, array)
        result += weight * array.astype(np.float64)
    return (result / total).astype(np.float32)


def mean_scores(
    reports: Sequence[Mapping[str, Floats]], counts: Sequence[int]
) -> dict[str, Floats]:
    """Σ_k (|D_k|/|D|) s_k by layer (Ohib et al. 2024, SSFL)."""
    return {
        name: weighted_mean([report[name] for report in reports], counts) for name in reports[0]
    }


def merge_growth(
    reports: Sequence[tuple[Indices, Floats]],
    weights: Sequence[float],
    covers: Sequence[Covers] | None = None,
) -> tuple[Indices, Floats]:
    """g̃ = Σ_k (|D_k| / |D|) g̃_k, an entry that a device did not send being 0 (FedTiny, Eq. 8).

    Args:
        reports: per device (int32 flat indices strictly ascending, float32 gradients).
        weights: |D_k|, one per report.
        covers: per report, which positions its device has gradients of at all; |D| is then the sum
            over those that have them. By default all have all.

    Returns:
        (int32 indices, float32 values): the union of the reports, ascending.

    Raises:
        AggregateError: as :func:`weighted_mean`, or a report's indices do not ascend.

    >>> a = (np.array([2, 5], np.int32), np.array([4., -8.], np.float32))
    >>> b = (np.array([5], np.int32), np.array([4.], np.float32))
    >>> indices, values = merge_growth([a, b], [1, 3])
    >>> indices.tolist(), values.tolist()
    ([2, 5], [1.0, 1.0])
    """
    total = _checked_total(len(reports), weights)
    for k, (indices, values) in enumerate(reports):
        if indices.shape != values.shape or indices.ndim != 1 or np.any(np.diff(indices) <= 0):
            raise AggregateError(f"reply {k}: growth indices must ascend, one per value")
        _check_finite(k, values)
    union = np.unique(np.concatenate([indices for indices, _ in reports])).astype(np.int32)
    merged = np.zeros(len(union), np.float64)
    for (indices, values), weight in zip(reports, weights, strict=True):
        merged[np.searchsorted(union, indices)] += weight * values.astype(np.float64)
    return union, (merged / _votes(union, weights, covers, total)).astype(np.float32)


def _votes(
    union: Indices, weights: Sequence[float], covers: Sequence[Covers] | None, total: float
) -> npt.NDArray[np.float64]:
    """|D| of each position."""
    if covers is None:
        return np.full(len(union), total)
    votes = np.zeros(len(union), np.float64)
    for weight, cover in zip(weights, covers, strict=True):
        votes += weight * cover(union)
    return votes


def _checked_total(replies: int, weights: Sequence[float]) -> float:
    if replies == 0:
        raise AggregateError("there is no reply to combine")
    if len(weights) != replies:
        raise AggregateError(f"{replies} replies but {len(weights)} weights")
    if not np.isfinite(weights).all() or min(weights) < 0 or sum(weights) <= 0:
        raise AggregateError(f"weights must be finite, not negative, not all 0; got {weights}")
    return float(sum(weights))


def _check_finite(k: int, array: npt.NDArray[np.floating]) -> None:
    if not np.isfinite(array).all():
        raise AggregateError(f"reply {k} holds values that are not finite")
