"""From font files to families that differ: what every client's samples are rendered from."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import track

from fedtiny.escaping.terminal import Screen
from fedtiny.seeding import rng
from sims.glyphs.alike import Family, different_faces, different_families
from sims.glyphs.faces import Face, Skipped, by_family, read_faces
from sims.glyphs.optional import FontError, GlyphError
from sims.glyphs.packages import Catalog
from sims.glyphs.render import Typesetter

MOST_FACES = 8
"""Faces of a family that are rendered; some have forty weights and widths."""


@dataclass(frozen=True, eq=False)
class Clients:
    """The families of a data set.

    Attributes:
        families: one a client, in the order of owners.
        skipped: font files and families that are none, with the reason.
    """

    families: tuple[Family, ...]
    skipped: tuple[Skipped, ...]


def find_clients(folder: Path, known: Catalog, count: int, seed: int, console: Screen) -> Clients:
    """Read the fonts below a folder; no two families that are returned look alike.

    Args:
        folder: holds a folder for each package.
        known: names that mean one family, and families that are left out.
        count: of families; where there are more, those with the most faces are taken.
        seed: draws which of those with equally many, and the order of owners, so that the last
            ones are no worse to hold out than others.
        console: where a bar is drawn, on a terminal.

    Raises:
        GlyphError: there are no fonts, or too few families.
    """
    if not folder.is_dir():
        raise GlyphError(f"no folder {folder}; fetch fonts first: python -m sims.glyphs fetch")
    faces, skipped = list[Face](), list[Skipped]()
    for one in read_faces(folder, known.same):
        if isinstance(one, Face):
            faces.append(one)
        else:
            skipped.append(one)
    families: dict[str, Family] = {}
    listed = track(
        by_family(faces).items(),
        "comparing families",
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    for name, members in listed:
        if name in known.left_out:
            skipped.append(Skipped(name, members[0].package, known.left_out[name]))
        elif (family := _family(name, members, skipped)) is not None:
            families[name] = family
    order = rng(seed, "glyphs/families").permutation(len(families))
    drawn = [list(families.values())[row] for row in order]
    kept, clones = different_families(sorted(drawn, key=lambda one: -len(one.faces)))
    skipped += clones
    if len(kept) < count:
        raise GlyphError(
            f"{folder} has {len(kept)} families that differ, {count} are wanted: fetch the others "
            "(python -m sims.glyphs fetch), put more fonts there, or ask for fewer with --families"
        )
    skipped += [
        Skipped(one.name, one.faces[0].package, f"there are {count} without it")
        for one in kept[count:]
    ]
    owners = rng(seed, "glyphs/owners").permutation(count)
    return Clients(tuple(kept[row] for row in owners), tuple(skipped))


def _family(name: str, members: list[Face], skipped: list[Skipped]) -> Family | None:
    faces, alphabets = list[Face](), list[np.ndarray]()
    for face in members:
        try:
            alphabets.append(Typesetter(face.path).alphabet())
        except FontError as error:
            skipped.append(Skipped(face.path.name, face.package, str(error)))
        else:
            faces.append(face)
    if not faces:
        return None
    stack = np.stack(alphabets)
    rows = different_faces(faces, stack)
    if len(rows) > MOST_FACES:  # evenly over the styles, which are in the order of their names
        rows = [rows[k * len(rows) // MOST_FACES] for k in range(MOST_FACES)]
    return Family(name, tuple(faces[row] for row in rows), stack[rows])
