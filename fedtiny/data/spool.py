"""The files that a device's recordings are made of: one file, or a folder that a sensor fills.

The protocol of such a folder (a spool), for the program that records:

1. write ``NAME.csv.part`` (or ``NAME.npz.part``) in the folder;
2. flush it to the disk, then rename it to ``NAME.csv``: that is atomic, so nobody ever sees half a
   recording under that name;
3. never write to ``NAME.csv`` again; delete it whenever you like, runs keep what they began with.

What does not look finished is left alone, and said: other names, a CSV file whose last line does
not end, an ``.npz`` without its table of contents.
"""

import logging
import zipfile
from dataclasses import dataclass
from pathlib import Path

from fedtiny.data import shares
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.file_identity import FileIdentity, identity_of

CSV, NPZ = ".csv", ".npz"
MAX_FILES = 10_000
_LISTED = 5


@dataclass(frozen=True, slots=True)
class Holding:
    """What there was when somebody looked.

    Attributes:
        path: the file or folder.
        files: finished recordings, by name.
        set_aside: names of files that are none, or not yet.
    """

    path: Path
    files: tuple[FileIdentity, ...]
    set_aside: tuple[str, ...] = ()

    @property
    def kind(self) -> str:
        """``".csv"`` or ``".npz"``."""
        return self.files[0].path.suffix


def is_recorded(named: Path) -> bool:
    """Whether a node's ``data`` names recordings of its own, rather than what was dealt to it."""
    if named.suffix == NPZ:
        return _holds_samples(named)
    if named.suffix == CSV:
        return True
    return named.is_dir() and not any(shares.is_share(path) for path in named.iterdir())


def _holds_samples(path: Path) -> bool:
    """Whether it is an ``.npz`` with an array ``x``: a dealt share has ``x_train`` and so on."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "x.npy" in archive.namelist()
    except (OSError, ValueError, zipfile.BadZipFile):
        return False  # whoever reads it says what is wrong


def look(named: Path) -> Holding:
    """The recordings at ``named`` now; what is set aside is logged.

    Raises:
        DataError: there are none, too many, or both kinds.
    """
    paths = sorted(named.iterdir()) if named.is_dir() else [named]
    finished = [path for path in paths if not named.is_dir() or _is_finished(path)]
    files = tuple(one for path in finished if (one := identity_of(path)) is not None)
    aside = tuple(path.name for path in paths if path not in set(finished) and path.is_file())
    if aside:
        names = ", ".join(map(ascii, aside[:_LISTED])) + (", …" if len(aside) > _LISTED else "")
        logging.getLogger("fedtiny").warning(
            "%s: %d file(s) set aside, not finished or no recordings: %s", named, len(aside), names
        )
    _check(named, files, aside)
    return Holding(named, files, aside)


def _check(named: Path, files: tuple[FileIdentity, ...], aside: tuple[str, ...]) -> None:
    if not files:
        there = f"{len(aside)} file(s) there are not finished" if aside else "nothing is there"
        raise bad_file(
            named,
            f"no recordings: {there}. A sensor writes NAME.csv.part and renames it to NAME.csv "
            "when it is whole; a device of a simulated federation has share-00000.npz, … there",
        )
    if len(files) > MAX_FILES:
        raise bad_file(named, f"{len(files)} files, at most {MAX_FILES:,}: join recordings")
    if len({one.path.suffix for one in files}) > 1:
        raise bad_file(named, "both .csv and .npz recordings: a folder holds one kind")


def _is_finished(path: Path) -> bool:
    if path.name.startswith(".") or not path.is_file():
        return False
    try:
        match path.suffix:
            case ".csv":
                return _ends_its_line(path)
            case ".npz":
                return zipfile.is_zipfile(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return False


def _ends_its_line(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, 2):
            return False
        file.seek(-1, 2)
        return file.read() == b"\n"
