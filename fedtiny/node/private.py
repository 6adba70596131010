"""Files that nobody but their owner may read: private from the first byte on."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from fedtiny.errors import FedTinyError

_MODE = 0o600


class PrivateFileError(FedTinyError):
    """A private file that exists already, or that others can read."""


def write_private(path: Path, content: bytes) -> None:
    """Create ``path`` with mode 0600, whatever the umask; an existing file is never touched.

    The file is created with its mode, not changed afterwards: there is no moment in which another
    user could open it.

    Raises:
        PrivateFileError: the file exists, or its folder cannot be written to.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, _MODE)
    except FileExistsError:
        raise PrivateFileError(
            f"{path} exists; a private key is never overwritten: move it away first"
        ) from None
    except OSError as error:
        raise PrivateFileError(f"cannot write {path}: {error.strerror}") from error
    with os.fdopen(handle, "wb") as file:
        os.fchmod(handle, _MODE)  # a umask may have taken bits of ours away, never added some
        file.write(content)
        file.flush()
        os.fsync(handle)


def read_private(path: Path) -> bytes:
    """The content of a file that only its owner can read.

    Raises:
        PrivateFileError: it cannot be read, or others may read it.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except OSError as error:
        raise PrivateFileError(f"cannot read {path}: {error.strerror}") from error
    if mode & 0o077:
        raise PrivateFileError(
            f"{path} has mode {mode:03o}: other users of this machine can read the private key; "
            f"make a new key, or if you trust them all: chmod 600 {path}"
        )
    return content
