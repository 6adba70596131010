"""Which files of a folder are data: endings in any case, and not what a system left there."""

import sys
from functools import cache
from pathlib import Path

from fedtiny.data.errors import bad_file


def ending_in(folder: Path, ending: str) -> list[Path]:
    """Files whose names end so, in order of their names.

    Hidden files are left out, and that is said, once for a folder: macOS puts ``._a.png`` beside
    ``a.png`` on disks of another make, and such a file holds no picture.

    Args:
        folder: that exists.
        ending: in lower case; names may have it in capitals.

    Raises:
        DataError: the folder cannot be listed.
    """
    try:
        found = sorted(p for p in folder.iterdir() if p.name.lower().endswith(ending))
    except OSError as error:
        raise bad_file(folder, f"cannot be read: {error.strerror}") from error
    hidden = [path.name for path in found if path.name.startswith(".")]
    if hidden:
        _say_once(f"{folder}: left out {len(hidden)} hidden files ({hidden[0]!a}, …)")
    return [path for path in found if not path.name.startswith(".") and path.is_file()]


@cache
def _say_once(text: str) -> None:
    print(text, file=sys.stderr)
