"""A folder for other programs' sockets and temporary files, whose path is short enough for them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path

from fedtiny.errors import FedTinyError

LONGEST = 30
"""Characters. Unix allows 107 in a socket's path; Ray adds ``/ray/session_<time>_<pid>/sockets/…``,
Flower's own engine one folder more."""

USUAL = (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))


class ScratchError(FedTinyError):
    """No folder will do."""


def scratch_folder(candidates: Iterable[Path] | None = None) -> Path:
    """The temporary folder, or the first of the usual ones if its path is too long for sockets.

    Args:
        candidates: in order; default: Python's choice (``TMPDIR``, if one can write there), then
            :data:`USUAL`.

    Raises:
        ScratchError: all are too long, missing, or read-only.

    >>> scratch_folder([Path("/" + 40 * "x"), Path("/tmp")])
    PosixPath('/tmp')
    """
    tried = list(candidates or (Path(tempfile.gettempdir()).absolute(), *USUAL))
    for folder in tried:
        if len(os.fspath(folder)) <= LONGEST and os.access(folder, os.W_OK | os.X_OK):
            return folder
    raise ScratchError(
        f"no folder for sockets: {', '.join(map(str, tried))} are longer than {LONGEST} "
        "characters, missing or read-only; set TMPDIR to a short folder, or use --backend inline"
    )
