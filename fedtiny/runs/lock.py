"""One process at a time: a lock that the kernel gives back however its holder ends."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from fedtiny.errors import FedTinyError

_BUSY = (errno.EWOULDBLOCK, errno.EACCES)
_HOLDER_BYTES = 4096


class LockedError(FedTinyError):
    """Another process holds it, or the file system has no locks."""


@contextmanager
def hold(path: Path, what: str, doing: str) -> Iterator[None]:
    """Hold the lock file ``path``, made if need be, until the block ends or the process dies.

    Args:
        path: in a folder that exists. It stays: whether it is locked is the kernel's to know.
        what: is locked, for the message, e.g. ``"runs/demo"``.
        doing: what this process is about to do, for those who find it locked.

    Raises:
        LockedError: another process holds it, named with its host and since when; or there are
            no locks here.
    """
    file = acquire(path, what, doing)
    try:
        yield
    finally:
        release(file)


def acquire(path: Path, what: str, doing: str) -> int:
    """As :func:`hold`, but until :func:`release`; a file descriptor that no child inherits.

    Raises:
        FileNotFoundError: there is no folder for it (any more).
        LockedError: as :func:`hold`.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise LockedError(f"{what} cannot be locked: {path}: {error.strerror}") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _sign(file, doing)
    except OSError as error:
        text = _refusal(file, error)
        os.close(file)
        raise LockedError(f"{what} {text}") from None
    return file


def release(file: int) -> None:
    """Give back what :func:`acquire` returned; the file no longer says who holds it."""
    try:
        os.ftruncate(file, 0)
    finally:
        os.close(file)


def is_still(path: Path, file: int) -> bool:
    """Whether ``path`` is the file that was locked: it may have been moved in between."""
    try:
        found = path.stat()
    except OSError:
        return False
    return os.path.samestat(found, os.fstat(file))


def _sign(file: int, doing: str) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "doing": doing,
    }
    os.ftruncate(file, 0)
    os.pwrite(file, json.dumps(holder).encode(), 0)


def _refusal(file: int, error: OSError) -> str:
    if error.errno in _BUSY:
        return f"is in use: {_holder(file)}. Wait for its end, or choose another name"
    return (
        f"cannot be locked ({error.strerror}), so that two commands could write there at once: "
        "choose a folder on a local disk with --out"
    )


def _holder(file: int) -> str:
    """Who holds it, as far as that can be read: it may be about to say so."""
    try:
        found = json.loads(os.pread(file, _HOLDER_BYTES, 0))
        return "{doing} since {since}, process {pid} on {host}".format_map(found)
    except (OSError, ValueError, KeyError, TypeError):
        return "another process is at work there"
