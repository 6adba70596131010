"""Font files as faces, and faces as families: one family is one client."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from sims.glyphs.optional import optional

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
"""The classes. Digits are left out: 0 and O, 1 and I are the same drawing in many a family."""

FORMATS = (".otf", ".ttf")

_FAMILY, _SUBFAMILY, _TYPOGRAPHIC_FAMILY, _TYPOGRAPHIC_SUBFAMILY = 1, 2, 16, 17
_STYLE = re.compile(
    r"[ _-]+((extra|semi|ultra|demi|half)[ -]?)?(thin|hairline|light|book|regular|roman|medium|bold"
    r"|heavy|black|demi|condensed|cond?|cn|narrow|wide|extended|italics?|oblique|slanted|unslanted"
    r"|upright|caps|smallcaps|display|text|caption|titling|math|std|pro|basic|extra|series|tt)$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Face:
    """One font file with all letters.

    Attributes:
        family: it belongs to, in the sense of :func:`family_name`.
        style: e.g. ``Bold Italic``, with what :func:`family_name` took off the family's name.
        path: of the file.
        package: it came with, the name of the folder it lies in.
    """

    family: str
    style: str
    path: Path
    package: str


@dataclass(frozen=True, slots=True)
class Skipped:
    """A font file, or a family, that is not rendered, and why."""

    name: str
    package: str
    reason: str


def family_name(name: str, same: Mapping[str, str]) -> str:
    """The client that a font's own family name belongs to.

    Args:
        name: what the file says.
        same: names that are another family's.

    >>> family_name("Latin Modern Mono Light Cond", {})
    'Latin Modern Mono'
    >>> family_name("GentiumAlt", {"GentiumAlt": "Gentium"})
    'Gentium'
    >>> family_name("Black", {})
    'Black'
    """
    name = " ".join(name.split())
    while name not in same and (shorter := _STYLE.sub("", name)) != name:
        name = shorter
    return same.get(name, name)


def read_faces(folder: Path, same: Mapping[str, str]) -> Iterator[Face | Skipped]:
    """Every font file below a folder, in the order of their paths; links are not followed.

    Args:
        folder: holds a folder for each package.
        same: see :func:`family_name`.
    """
    logging.getLogger("fontTools").setLevel(logging.CRITICAL)  # it warns of every padding byte
    for package in sorted(path for path in folder.iterdir() if path.is_dir()):
        paths = sorted(path for path in package.rglob("*") if path.suffix.lower() in FORMATS)
        for path in paths:
            if path.is_file() and not path.is_symlink():
                yield _face(path, package.name, same)


def _face(path: Path, package: str, same: Mapping[str, str]) -> Face | Skipped:
    fonts = optional("fontTools.ttLib")
    try:
        with path.open("rb") as raw, fonts.TTFont(raw, lazy=True) as font:
            letters, names = font.getBestCmap() or {}, font["name"]
            family = names.getDebugName(_TYPOGRAPHIC_FAMILY) or names.getDebugName(_FAMILY)
            style = names.getDebugName(_TYPOGRAPHIC_SUBFAMILY) or names.getDebugName(_SUBFAMILY)
    except Exception as error:  # damage leads to errors of every kind
        return Skipped(path.name, package, f"cannot be read: {error!s:.100}")
    if not (family or "").strip():
        return Skipped(path.name, package, "has no name")
    lacking = "".join(letter for letter in LETTERS if ord(letter) not in letters)
    if lacking:
        return Skipped(path.name, package, f"lacks {lacking}")
    name = family_name(family, same)
    rest = " ".join(family.split()).removeprefix(name).strip(" _-")
    return Face(name, " ".join(f"{rest} {style or ''}".split()), path, package)


def by_family(faces: Iterable[Face]) -> dict[str, list[Face]]:
    """Families in the order of their names, whatever the case; faces by style, then by path."""
    families: dict[str, list[Face]] = defaultdict(list)
    for face in faces:
        families[face.family].append(face)
    return {
        name: sorted(families[name], key=lambda face: (face.style, face.path))
        for name in sorted(families, key=lambda name: (name.lower(), name))
    }
