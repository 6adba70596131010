"""Tiers as part of a checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import TypeAdapter

from fedtiny.federation.parts import Statistics
from fedtiny.models.graph import Graph
from fedtiny.runs.fields import Count
from fedtiny.runs.tensors import Array, CheckpointError
from fedtiny.sparse.tensor import Floats, Indices
from fedtiny.tiers.cut import Ranks
from fedtiny.tiers.tier import Tier

_STATISTICS, _RANKS = "tier.", "ranks."
_TIERS = TypeAdapter(dict[Count, Tier])
_SHARED = TypeAdapter(Tier | None)


def arrays(statistics: Statistics, ranks: Ranks) -> dict[str, Array]:
    """By name: ``tier.{width}/{density}/{parameter}`` and ``ranks.{layer}``."""
    named: dict[str, Array] = {f"{_RANKS}{name}": array for name, array in ranks.items()}
    for tier, own in statistics.items():
        key = f"{_STATISTICS}{tier.width!r}/{tier.density!r}/"
        named |= {f"{key}{name}": array for name, array in own.items()}
    return named


def read_arrays(
    path: Path, graph: Graph, arrays: Mapping[str, Array]
) -> tuple[dict[Tier, dict[str, Floats]], dict[str, Indices]]:
    """The inverse of :func:`arrays`.

    Raises:
        CheckpointError: an array is none of the model's, or of another shape.
    """
    shapes = {row.name: row.shape for row in graph.statistics}
    statistics: dict[Tier, dict[str, Floats]] = {}
    ranks: dict[str, Indices] = {}
    for key, array in arrays.items():
        if key.startswith(_RANKS):
            ranks[key.removeprefix(_RANKS)] = array
        elif key.startswith(_STATISTICS):
            tier, name = _tier(path, key)
            if shapes.get(name) != array.shape or array.dtype != np.float32:
                raise CheckpointError(f"{path}: {key!r:.80} is no statistic of {graph.name}")
            statistics.setdefault(tier, {})[name] = array
    return statistics, ranks


def manifest(tiers: Mapping[int, Tier]) -> dict[str, Any]:
    """By partition, as plain values."""
    return {str(k): asdict(t) for k, t in tiers.items()}


def read_manifest(tree: object) -> dict[int, Tier]:
    """The inverse of :func:`manifest`; raises pydantic's ValidationError."""
    return _TIERS.validate_python(tree)


def shared_manifest(tier: Tier | None) -> dict[str, float] | None:
    """The global model's part as plain values."""
    return None if tier is None else asdict(tier)


def read_shared(tree: object) -> Tier | None:
    """The inverse of :func:`shared_manifest`; raises pydantic's ValidationError."""
    return _SHARED.validate_python(tree)


def _tier(path: Path, key: str) -> tuple[Tier, str]:
    try:
        width, density, name = key.removeprefix(_STATISTICS).split("/")
        return Tier(float(width), float(density)), name
    except ValueError as error:
        raise CheckpointError(f"{path}: {key!r:.80} is no tier's array") from error
