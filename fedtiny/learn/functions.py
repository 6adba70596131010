"""Exponential, logarithm and Adam's corrections as the C computes them, in float32."""

from __future__ import annotations

import numpy as np

from fedtiny.sparse.tensor import Floats

F = np.float32

_LOWEST, _LOG2_E, _LN2, _SQRT2 = F(-87), F(1.44269504), F(0.693147181), F(1.41421356)
_LN2_HIGH, _LN2_LOW = F(0.693359375), F(-2.12194440e-4)
_EXP = tuple(F(1) / F(n) for n in (720, 120, 24, 6, 2, 1, 1))
_LOG = tuple(F(1) / F(n) for n in (9, 7, 5, 3, 1))

Powers = tuple[np.float32, np.float32]


def exponential(x: Floats) -> Floats:
    """``fedtiny_learn_exp``: of x ≤ 0.

    >>> exponential(np.array([0, -1, -100], np.float32))
    array([1.        , 0.36787945, 0.        ], dtype=float32)
    """
    kept = np.maximum(x, _LOWEST)
    k = np.trunc(kept * _LOG2_E - F(0.5)).astype(np.float32)
    r = kept - k * _LN2_HIGH - k * _LN2_LOW
    total = np.full_like(x, _EXP[0])
    for coefficient in _EXP[1:]:
        total = total * r + coefficient
    powers = ((k.astype(np.int32) + 127) << 23).view(np.float32)
    found: Floats = np.where(x >= _LOWEST, total * powers, F(0))
    return found


def logarithm(x: np.float32) -> np.float32:
    """``fedtiny_learn_log``: of x ≥ 1.

    >>> logarithm(np.float32(7))
    np.float32(1.9459101)
    """
    m, k = np.frexp(x)
    m, k = F(m) * F(2), F(k - 1)
    if m > _SQRT2:
        m, k = m * F(0.5), k + F(1)
    t = (m - F(1)) / (m + F(1))
    total = _LOG[0]
    for coefficient in _LOG[1:]:
        total = total * (t * t) + coefficient
    return F(k * _LN2 + F(2) * t * total)


def adam_powers(powers: Powers, rate: np.float32) -> tuple[Powers, np.float32, np.float32]:
    """(powers after one more step, the rate divided by 1 − 0.9ᵗ, 1 / √(1 − 0.999ᵗ))."""
    first, second = powers[0] * F(0.9), powers[1] * F(0.999)
    return (first, second), rate / (F(1) - first), F(1) / np.sqrt(F(1) - second)
