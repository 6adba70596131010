"""Fonts out of Debian's packages, without installing any: no rights are needed, nothing changes.

apt's lists and archives are kept below the folder of the fonts, whatever state the system's are in;
apt checks signatures and digests as it always does.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from fedtiny.escaping.terminal import Screen
from fedtiny.runs import atomic
from sims.glyphs.faces import FORMATS
from sims.glyphs.optional import GlyphError
from sims.glyphs.packages import RECORD, Package

_APT = ".apt"
_AT_A_TIME = 8  # packages a call: apt takes a third of a second to start
_NEEDS = ("apt-get", "apt-cache", "dpkg-deb")


@dataclass(frozen=True, slots=True)
class _Offer:
    """A package as apt has it; ``size`` is of its file, in bytes."""

    package: Package
    size: int


def fetch(folder: Path, packages: Sequence[Package], console: Screen) -> list[str]:
    """Put the fonts of each package, and its copyright file, into ``folder/PACKAGE``.

    Packages that are there already are left alone; delete a folder to have it fetched anew.

    Args:
        folder: made if need be.
        packages: wanted.
        console: where a bar is drawn, on a terminal.

    Returns:
        The packages that this machine's Debian does not have.

    Raises:
        GlyphError: this is no Debian, or a package cannot be fetched.
    """
    wanted = [one for one in packages if not (folder / one.package / RECORD).is_file()]
    if not wanted:
        return []
    missing = [name for name in _NEEDS if shutil.which(name) is None]
    if missing:
        raise GlyphError(
            f"{', '.join(missing)} not found: fonts are fetched from Debian's packages. On another "
            f"system put font files into {folder}/NAME/ and run: python -m sims.glyphs make"
        )
    apt = _Apt(folder / _APT)
    with console.status("asking Debian's archive which fonts it has"):
        apt.update()
        offers = apt.offers(wanted)
    with Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        console=console,
        disable=not console.is_terminal,
        transient=True,
    ) as bar:
        task = bar.add_task("fetching fonts", total=sum(one.size for one in offers))
        for first in range(0, len(offers), _AT_A_TIME):
            batch = offers[first : first + _AT_A_TIME]
            for offer, archive in apt.download(batch):
                _unpack(archive, folder / offer.package.package, offer.package)
                archive.unlink()
                bar.advance(task, offer.size)
    shutil.rmtree(folder / _APT)
    known = {one.package.package for one in offers}
    return [one.package for one in wanted if one.package not in known]


class _Apt:
    """apt with lists and archives of its own.

    Args:
        folder: for them.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()
        for name in ("lists/partial", "cache/archives/partial", "debs"):
            (self._folder / name).mkdir(parents=True, exist_ok=True)
        settings = {
            "Dir::State::Lists": self._folder / "lists",
            "Dir::Cache": self._folder / "cache",
            "APT::Update::Error-Mode": "any",  # else a list that did not come is a warning
            "APT::Sandbox::User": "root",  # what another user may write lies elsewhere
            "Acquire::Retries": "2",
        }
        self._options = [
            word for key, value in settings.items() for word in ("-o", f"{key}={value}")
        ]

    def update(self) -> None:
        """Read which packages there are."""
        self._run("apt-get", "update", "cannot ask Debian's archive which fonts it has")

    def offers(self, packages: Iterable[Package]) -> list[_Offer]:
        """Those that there are, in the newest version."""
        by_name = {one.package: one for one in packages}
        text = self._run("apt-cache", "show", "", "--no-all-versions", *by_name)
        stanzas = [
            dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            for block in text.split("\n\n")
        ]
        found = {stanza["Package"]: stanza for stanza in stanzas if "Package" in stanza}
        return [
            _Offer(
                replace(one, version=found[name]["Version"], sha256=found[name]["SHA256"]),
                int(found[name]["Size"]),
            )
            for name, one in by_name.items()
            if name in found
        ]

    def download(self, offers: Sequence[_Offer]) -> list[tuple[_Offer, Path]]:
        """Each with its ``.deb``."""
        shutil.rmtree(self._folder / "debs")
        (self._folder / "debs").mkdir()
        names = [f"{one.package.package}={one.package.version}" for one in offers]
        self._run("apt-get", "download", "cannot fetch fonts", *names)
        archives = {_sha256(path): path for path in sorted((self._folder / "debs").glob("*.deb"))}
        lost = [one.package.package for one in offers if one.package.sha256 not in archives]
        if lost:
            raise GlyphError(f"apt-get download left no {', '.join(lost)}: try again")
        return [(one, archives[one.package.sha256]) for one in offers]

    def _run(self, program: str, verb: str, failure: str, *words: str) -> str:
        """Standard output; an empty ``failure`` means that a bad exit status is none."""
        command = [program, "-q", *self._options, verb, *words]
        result = subprocess.run(
            command,
            cwd=self._folder / "debs",
            env=os.environ | {"LC_ALL": "C.UTF-8"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
        if result.returncode and failure:
            said = [line for line in result.stderr.splitlines() if line.startswith("E:")]
            raise GlyphError(
                f"{failure}: {(said or ['apt-get failed'])[0]:.300}; see that this machine reaches "
                "a mirror (apt-get update), then run the same again: it goes on where it was"
            )
        return result.stdout


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(archive: Path, folder: Path, package: Package) -> None:
    """Font files and the copyright of a ``.deb``; the folder is whole or not there."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    with subprocess.Popen(
        ["dpkg-deb", "--fsys-tarfile", archive], stdout=subprocess.PIPE
    ) as reader:
        assert reader.stdout is not None
        with tarfile.open(fileobj=reader.stdout, mode="r|") as members:
            for member in members:
                inside = Path(member.name)
                if not member.isfile() or not _is_wanted(inside):
                    continue
                content = members.extractfile(member)
                assert content is not None
                (part / inside).parent.mkdir(parents=True, exist_ok=True)
                (part / inside).write_bytes(content.read())
    if reader.returncode:
        raise GlyphError(f"dpkg-deb cannot read {archive.name}: run the same again")
    atomic.write(part / RECORD, json.dumps(package.record(), indent=1) + "\n")
    shutil.rmtree(folder, ignore_errors=True)
    part.rename(folder)


def _is_wanted(inside: Path) -> bool:
    return inside.suffix.lower() in FORMATS or inside.name == "copyright"
