"""How far one device may move the model: updates measured against the round's median.

An average has no bound: one device that multiplies its update by 100 owns the model. What honest
devices send differs, but not by orders of magnitude, so the median of a round says what is
plausible (after Sun et al., "Can You Really Backdoor Federated Learning?", 2019, who bound the
norm by a constant). Nobody is left out of rounds with fewer than three replies: two cannot say
which of them is odd.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import replace
from math import sqrt
from statistics import median

import numpy as np
import numpy.typing as npt

from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import SparseTensor
from fedtiny.training.trainer import Ranges
from fedtiny.wire.train import TrainResult

Doubles = npt.NDArray[np.float64]

MIN_REPLIES = 3
"""Below this there is no majority."""

OTHERS_FACTOR = 5
"""Running statistics and growth reports differ more between honest devices than updates do: up to
13 and 8 times the median where updates reach 5 (the demo, 40 rounds)."""


def implausible_updates(
    graph: Graph, sent: SparseModel, results: Mapping[int, TrainResult], factor: float
) -> dict[int, str]:
    """The devices whose update is far longer than the others', with the reason.

    Args:
        graph: the model.
        sent: what all of them trained.
        results: by partition.
        factor: an update ‖θ_k − θ‖ may be this times the round's median; running statistics and
            growth reports ``OTHERS_FACTOR`` times that. 0: no bound.

    Returns:
        By partition, ascending; empty if there are fewer than three results.
    """
    if not factor or len(results) < MIN_REPLIES:
        return {}
    order = sorted(results)
    statistics = {row.name for row in graph.parameter_table if row.kind.is_statistic}
    measures = {k: _lengths(statistics, sent, results[k]) for k in order}
    allowed = {"update": factor, **dict.fromkeys(("statistics", "growth"), OTHERS_FACTOR * factor)}
    reasons: dict[int, str] = {}
    for what, most in allowed.items():
        found = implausible_lengths({k: measures[k][what] for k in order}, most, what)
        reasons = found | reasons  # the first reason stays
    return dict(sorted(reasons.items()))


def implausible_lengths(
    lengths: Mapping[int, float], most: float, what: str = "update"
) -> dict[int, str]:
    """The devices of which something is far longer than the others', with the reason.

    Args:
        lengths: by partition.
        most: one may be this times the median; 0: no bound.
        what: is measured, in words.

    >>> sorted(implausible_lengths({0: 1.0, 1: 1.2, 2: 90.0}, 6))
    [2]
    """
    if not most or len(lengths) < MIN_REPLIES:
        return {}
    middle = median(lengths.values())
    return {
        k: (
            f"its {what} is {length / middle:.3g} times as long as the round's median, more than "
            f"{most:g}"
        )
        for k, length in sorted(lengths.items())
        if middle > 0 and length > most * middle
    }


def implausible_ranges(ranges: Mapping[int, Ranges], factor: float) -> dict[int, str]:
    """The devices that report activations far beyond the others', with the reason.

    One such range would leave a handful of int8 levels to everybody.

    Args:
        ranges: by partition, of the same tensors.
        factor: as for :func:`implausible_updates`; a range may reach ``OTHERS_FACTOR`` times that.
    """
    if not factor or len(ranges) < MIN_REPLIES:
        return {}
    reasons: dict[int, str] = {}
    for name in next(iter(ranges.values())):
        reach = {k: max(map(abs, one[name])) for k, one in sorted(ranges.items())}
        most = OTHERS_FACTOR * factor * median(reach.values())
        for k, far in reach.items():
            if far > most > 0:
                reasons.setdefault(
                    k, f"its activations of {name} reach {far:.3g}, beyond {most:.3g}"
                )
    return dict(sorted(reasons.items()))


def capped_counts(results: Mapping[int, TrainResult], factor: float) -> dict[int, TrainResult]:
    """Results whose weight in a mean is at most ``factor`` times the median one; 0: no cap."""
    if not factor or len(results) < MIN_REPLIES:
        return dict(results)
    most = max(1, int(factor * median(result.count for result in results.values())))
    return {k: replace(one, count=min(one.count, most)) for k, one in results.items()}


def _lengths(statistics: Set[str], sent: SparseModel, result: TrainResult) -> dict[str, float]:
    """Euclidean norms of what a device changed, and the largest |growth value| it reports."""
    squares = {"update": 0.0, "statistics": 0.0}
    for name, weight in result.model.weights.items():
        squares["update"] += _squares(_difference(sent.weights[name], weight))
    for name, array in result.model.dense.items():
        kind = "statistics" if name in statistics else "update"
        squares[kind] += _squares(array.astype(np.float64) - sent.dense[name])
    largest = max((np.abs(v).max(initial=0.0) for _, v in result.found.values()), default=0.0)
    return {**{kind: sqrt(total) for kind, total in squares.items()}, "growth": float(largest)}


def _difference(sent: SparseTensor, trained: SparseTensor) -> Doubles:
    """θ_k − θ where either has a weight; a device may have exchanged some (FedDST)."""
    if np.array_equal(trained.mask.indices, sent.mask.indices):
        return trained.values.astype(np.float64) - sent.values
    union = np.union1d(sent.mask.indices, trained.mask.indices)
    change = np.zeros(len(union), np.float64)
    change[np.searchsorted(union, trained.mask.indices)] += trained.values
    change[np.searchsorted(union, sent.mask.indices)] -= sent.values
    return change


def _squares(values: Doubles) -> float:
    return float(np.dot(values.reshape(-1), values.reshape(-1)))
