"""How one total density is shared out over the layers."""

from collections.abc import Mapping
from math import floor, prod

import numpy as np

from fedtiny.sparse.tensor import SparseError

TOLERANCE = 0.02
"""How far below the asked density a noisy draw may fall, as a fraction of it (FedTiny)."""

TRIES = 100
"""Draws before a noisy density is scaled to fit instead."""


def uniform(sizes: Mapping[str, int], density: float) -> dict[str, float]:
    """The same density for every layer.

    Args:
        sizes: prunable weights by layer name.
        density: in (0, 1].

    >>> uniform({"a": 10, "b": 30}, 0.1)
    {'a': 0.1, 'b': 0.1}
    """
    _check(density, sizes)
    return dict.fromkeys(sizes, density)


def erdos_renyi_kernel(shapes: Mapping[str, tuple[int, ...]], density: float) -> dict[str, float]:
    """ERK: a layer's density is proportional to Σ shape / Π shape, clipped at 1.

    (n_in + n_out + k_h + k_w) / (n_in · n_out · k_h · k_w) for a convolution, (n_in + n_out) /
    (n_in · n_out) for a linear layer; the total is exactly ``density`` (Evci et al. 2020, "Rigging
    the Lottery", appendix; Mocanu et al. 2018 for the linear form).

    Args:
        shapes: weight shapes by layer name (see :mod:`fedtiny.models.graph`).
        density: in (0, 1].

    >>> erdos_renyi_kernel({"small": (2, 2), "large": (10, 10)}, 0.5)
    {'small': 1.0, 'large': 0.48}
    """
    sizes = {name: prod(shape) for name, shape in shapes.items()}
    _check(density, sizes)
    ratios = {name: sum(shape) / prod(shape) for name, shape in shapes.items()}
    return _scaled(ratios, sizes, density)


def noisy(
    base: Mapping[str, float],
    sizes: Mapping[str, int],
    density: float,
    generator: np.random.Generator,
) -> dict[str, float]:
    """One draw d_l · (1 + U(−½, ½)), clipped at 1, whose total is right (FedTiny, coarse pruning).

    Redrawn until the weights really kept, Σ :func:`layer_counts`, are at most ``density`` and less
    than 2 % below it. FedTiny accepts 2 % on either side; a density is a budget, so ours never
    exceeds it. Nets of a few small layers may miss that window for ever: after :data:`TRIES` draws
    the last one is scaled to the exact total, and only the floors keep it below.

    Args:
        base: noise-free density by layer name.
        sizes: prunable weights by layer name.
        density: the total asked for, in (0, 1].
        generator: see :func:`fedtiny.seeding.rng`.
    """
    _check(density, sizes)
    budget = density * sum(sizes.values())
    for _ in range(TRIES):
        noise = generator.uniform(-0.5, 0.5, len(base))
        drawn = {
            name: min(1.0, layer_density * (1.0 + float(u)))
            for (name, layer_density), u in zip(base.items(), noise, strict=True)
        }
        kept = sum(layer_counts(drawn, sizes).values())
        if budget * (1 - TOLERANCE) < kept <= weight_budget(sizes, density):
            return drawn
    return _scaled(drawn, sizes, density)


def weights_kept(density: float, size: int) -> int:
    """⌊density · size⌋, the only rule for how many weights a density leaves.

    >>> weights_kept(0.29, 100), int(0.29 * 100)
    (29, 28)
    """
    # 0.29 · 100 is 28.999… in binary: the product is rounded before the floor.
    return floor(round(density * size, 6))


def layer_counts(densities: Mapping[str, float], sizes: Mapping[str, int]) -> dict[str, int]:
    """:func:`weights_kept` of every layer, at least one each.

    >>> layer_counts({"a": 0.29, "b": 0.001}, {"a": 100, "b": 50})
    {'a': 29, 'b': 1}
    """
    return {name: max(1, weights_kept(densities[name], size)) for name, size in sizes.items()}


def budgeted_counts(
    densities: Mapping[str, float], sizes: Mapping[str, int], budget: int
) -> dict[str, int]:
    """:func:`layer_counts` of at most ``budget`` weights in all.

    The one weight that every layer keeps can exceed what the density allows it; the layer with the
    most weights (the first of equals) pays.

    Raises:
        SparseError: the budget has fewer weights than there are layers.

    >>> budgeted_counts({"a": 0.1, "b": 0.1}, {"a": 5, "b": 50}, 5)
    {'a': 1, 'b': 4}
    """
    counts = layer_counts(densities, sizes)
    if budget < len(counts):
        raise SparseError(
            f"the density leaves {budget} weights for {len(counts)} layers; raise it so that every "
            f"layer keeps at least one"
        )
    while sum(counts.values()) > budget:
        counts[max(counts, key=lambda name: counts[name])] -= 1
    return counts


def weight_budget(sizes: Mapping[str, int], density: float) -> int:
    """:func:`weights_kept` of all prunable weights together.

    >>> weight_budget({"a": 100, "b": 101}, 0.29)
    58
    """
    return weights_kept(density, sum(sizes.values()))


def _scaled(
    ratios: Mapping[str, float], sizes: Mapping[str, int], density: float
) -> dict[str, float]:
    """min(1, ε · ratio_l) with the ε for which the total is ``density``.

    Clipping a layer leaves more for the others, so ε only grows and a clipped layer stays clipped.
    """
    full: set[str] = set()
    while len(full) < len(sizes):
        left = density * sum(sizes.values()) - sum(sizes[name] for name in full)
        open_layers = [name for name in sizes if name not in full]
        epsilon = left / sum(ratios[name] * sizes[name] for name in open_layers)
        over = {name for name in open_layers if epsilon * ratios[name] >= 1.0}
        if not over:
            return {name: 1.0 if name in full else epsilon * ratios[name] for name in sizes}
        full |= over
    return dict.fromkeys(sizes, 1.0)


def _check(density: float, sizes: Mapping[str, int]) -> None:
    if not 0 < density <= 1:
        raise SparseError(f"density must lie in (0, 1], got {density}")
    if not sizes or min(sizes.values()) < 1:
        raise SparseError("densities need at least one layer, and every layer at least one weight")
