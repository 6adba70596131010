"""The samples of all clients: jittered copies of every letter of every face."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.progress import track

from fedtiny.data.images import GRAY
from fedtiny.data.npz_file import Arrays
from fedtiny.escaping.terminal import Screen
from sims.glyphs.alike import Family
from sims.glyphs.faces import LETTERS
from sims.glyphs.render import SIDE, Typesetter, jitter

FEWEST = 8
"""Samples of each letter that a client has at least."""

VIEWS = 3
"""Training, development, test: with as many faces each can have its own."""


def copies(faces: int) -> int:
    """Of every letter of every face, so that there are :data:`FEWEST` of each letter.

    >>> [copies(faces) for faces in (1, 2, 3, 4, 8)]
    [8, 4, 3, 2, 1]
    """
    return -(-FEWEST // faces)


def render(families: Sequence[Family], seed: int, console: Screen) -> Arrays:
    """The arrays of an ``.npz`` as :mod:`fedtiny.data.npz` describes them.

    ``recording`` is the face, and ``start`` the letter: copies of one drawing are never in two
    views of a client, and what is held out of a client are faces. A family of one or two faces has
    nothing but copies for three views; each round of copies is a recording there.

    Args:
        families: in the order of owners.
        seed: of the jitter.
        console: where a bar is drawn, on a terminal.
    """
    rows = sum(len(LETTERS) * len(one.faces) * copies(len(one.faces)) for one in families)
    x = np.empty((rows, 1, SIDE, SIDE), np.uint8)
    facts = np.empty((rows, 4), np.int64)  # class, owner, recording, letter
    row = recording = 0
    listed = track(
        list(enumerate(families)),
        "rendering",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    for owner, family in listed:
        by_face = len(family.faces) >= VIEWS
        for face in family.faces:
            setter = Typesetter(face.path)
            for copy in range(copies(len(family.faces))):
                for label, letter in enumerate(LETTERS):
                    x[row, 0] = setter.picture(letter, jitter(seed, face, letter, copy))
                    facts[row] = label, owner, recording, label
                    row += 1
                recording += not by_face
            recording += by_face
    return {
        "x": x,
        "y": facts[:, 0],
        "owner": facts[:, 1],
        "recording": facts[:, 2],
        "start": facts[:, 3],
        "labels": np.array(list(LETTERS)),
        "channels": np.array(GRAY.channels),
        "units": np.array(GRAY.units),
        "scale": np.array(GRAY.scale),
    }
