"""Which files of a folder are data: endings in any case, and not what a system left there."""

import sys
from pathlib import Path

from fedtiny.data.errors import bad_file

_said: set[Path] = set()


def ending_in(folder: Path, ending: str, root: Path | None = None) -> list[Path]:
    """Files whose names end so, in order of their names.

    Hidden files are left out, and that is said, once for a data set: macOS puts ``._a.png`` beside
    ``a.png`` on disks of another make, and such a file holds no picture.

    Args:
        folder: that exists.
        ending: in lower case; names may have it in capitals.
        root: of the data set that the folder is part of; by default itself.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        found = sorted(p for p in folder.iterdir() if p.name.lower().endswith(ending))
    except OSError as error:
        raise bad_file(folder, f"cannot be read: {error.strerror}") from error
    hidden = [path for path in found if path.name.startswith(".")]
    if hidden:
        _say_once(root or folder, hidden[0])
    return [path for path in found if not path.name.startswith(".") and path.is_file()]


def _say_once(root: Path, hidden: Path) -> None:
    if root not in _said:
        _said.add(root)
        name = hidden.relative_to(root).as_posix()
        print(f"{root}: hidden files, such as {name!a}, are left out", file=sys.stderr)
