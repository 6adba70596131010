"""Which Debian packages the fonts come from, and under which licence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from fedtiny.text_files import read_json, read_toml
from sims.glyphs.optional import GlyphError

RECORD = "package.json"
"""What a package's folder says of where it came from; written last, so that the folder is whole."""


@dataclass(frozen=True, slots=True)
class Package:
    """Where fonts come from.

    Attributes:
        package: its name.
        licence: of its fonts, as SPDX says it where that has a word for it.
        version: that was fetched; empty before.
        sha256: of the file that was fetched; empty before.
    """

    package: str
    licence: str
    version: str = ""
    sha256: str = ""

    def record(self) -> dict[str, str]:
        """As it is written."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Catalog:
    """``packages.toml``.

    Attributes:
        packages: to be fetched, in the order of their names.
        same: font names that are another family's, see :func:`sims.glyphs.faces.family_name`.
        left_out: families that are not rendered, with the reason.
    """

    packages: tuple[Package, ...]
    same: Mapping[str, str]
    left_out: Mapping[str, str]


@cache
def catalog() -> Catalog:
    """The packages of this project.

    >>> len(catalog().packages) > 150, catalog().packages[0].licence
    (True, 'OFL-1.1 OR BSD-3-Clause')
    """
    table = read_toml(Path(__file__).with_name("packages.toml"))
    packages = [
        Package(name, licence) for licence, names in table["licences"].items() for name in names
    ]
    by_name = sorted(packages, key=lambda package: package.package)
    return Catalog(tuple(by_name), table["same"], table["left_out"])


def origin(folder: Path, name: str) -> Package:
    """What is known of a package whose fonts lie in ``folder/name``.

    A folder of one's own, without a record, has no version and an unknown licence.

    Raises:
        GlyphError: its record is damaged.
    """
    path = folder / name / RECORD
    if not path.is_file():
        return Package(name, "unknown")
    try:
        return Package(**{str(key): str(value) for key, value in read_json(path).items()})
    except (AttributeError, TypeError) as error:
        raise GlyphError(f"{path} is not what fetching writes: delete {folder / name}") from error
