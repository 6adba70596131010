"""Which alphabets are nearly the same drawing, whatever their fonts are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sims.glyphs.faces import Face, Skipped

ALIKE = 0.13
"""Distances below this are clones, see :func:`distances`.

Chosen on 1,350 faces of Debian: copies and conversions of one drawing lie below 0.04, revivals of
one (four of Times, four of Helvetica) and families derived from another (Carlito from Lato, Hack
from DejaVu) below 0.12; the nearest two drawings of different origin that we know of at 0.135.
"""

Alphabets = NDArray[np.uint8]
"""(faces, 26, 28, 28)."""


def distances(a: Alphabets, b: Alphabets) -> NDArray[np.float32]:
    """How different two sets of faces look, (len(a), len(b)): 0 is the same, 1 no ink in common.

    For each letter ‖u − v‖ / √(‖u‖² + ‖v‖²) of the pictures at half their size, so that a shift by
    a fraction of a pixel counts little; then the mean over letters.

    >>> blank = np.zeros((1, 26, 28, 28), np.uint8)
    >>> left, right = blank.copy(), blank.copy()
    >>> left[..., :14], right[..., 14:] = 255, 255
    >>> distances(left, np.concatenate([left, right])).tolist()
    [[0.0, 1.0]]
    """
    u, v = _half(a), _half(b)
    total = np.zeros((len(a), len(b)), np.float64)
    for letter in range(u.shape[1]):
        one, other = u[:, letter], v[:, letter]
        both = (one**2).sum(1)[:, None] + (other**2).sum(1)[None]
        apart = np.maximum(both - 2 * one @ other.T, 0)
        total += np.sqrt(apart / np.maximum(both, 1))
    mean: NDArray[np.float32] = (total / u.shape[1]).astype(np.float32)
    return mean


def _half(alphabets: Alphabets) -> NDArray[np.float64]:
    """(faces, 26, 196): exact sums of whole numbers, whatever order they are added in."""
    faces, letters, high, wide = alphabets.shape
    cells = alphabets.reshape(faces, letters, high // 2, 2, wide // 2, 2)
    small: NDArray[np.float64] = cells.sum(axis=(3, 5), dtype=np.float64)
    return small.reshape(faces, letters, high * wide // 4)


@dataclass(frozen=True, eq=False)
class Family:
    """A client to be.

    Attributes:
        name: of the family.
        faces: of it, no two alike.
        alphabets: (faces, 26, 28, 28), each face's letters as they are.
    """

    name: str
    faces: tuple[Face, ...]
    alphabets: Alphabets


def different_faces(faces: Sequence[Face], alphabets: Alphabets) -> list[int]:
    """Of one family, the faces that are not alike to an earlier one."""
    apart, kept = distances(alphabets, alphabets), list[int]()
    for row in range(len(faces)):
        if not (apart[row, kept] < ALIKE).any():
            kept.append(row)
    return kept


def different_families(families: Sequence[Family]) -> tuple[list[Family], list[Skipped]]:
    """Families of which no face is alike to one of a family that is kept.

    Args:
        families: those that come first are kept.
    """
    kept, dropped = list[Family](), list[Skipped]()
    if not families:
        return kept, dropped
    drawn = np.concatenate([family.alphabets for family in families])
    of_face, used = list[Family](), 0
    for family in families:
        faces = len(family.faces)
        apart = distances(family.alphabets, drawn[:used]).min(axis=0, initial=1.0)
        if (apart < ALIKE).any():
            twin, nearest = of_face[int(apart.argmin())], apart.min()
            reason = f"looks like {twin.name} ({nearest:.3f})"
            dropped.append(Skipped(family.name, family.faces[0].package, reason))
            continue
        drawn[used : used + faces] = family.alphabets  # never before what it was copied from
        of_face += [family] * faces
        used += faces
        kept.append(family)
    return kept, dropped
