"""Who did what and when: a JSON line for each act, join, refusal, ban and checkpoint."""

from __future__ import annotations

import errno
import fcntl
import getpass
import json
import os
from datetime import UTC, datetime
from typing import Any

from sims.deploy.home import Home


def record(home: Home, act: str, **facts: Any) -> None:  # noqa: ANN401 - whatever JSON can hold
    """Append a line: time, user, ``act`` and its facts.

    Written by one ``write`` to a file opened for appending, so that lines of several commands
    never mix, and synchronised: what was recorded survives a crash.

    Raises:
        OSError: the disk is full; then there is no part of the line either.
    """
    line = {"time": datetime.now(UTC).isoformat(timespec="seconds"), "user": _user(), "act": act}
    text = (json.dumps({**line, **facts}, ensure_ascii=True) + "\n").encode()
    handle = os.open(home.audit, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        whole = os.fstat(handle).st_size
        if os.write(handle, text) < len(text):
            os.ftruncate(handle, whole)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(home.audit))
        os.fsync(handle)
    finally:
        os.close(handle)


def entries(home: Home) -> list[dict[str, Any]]:
    """Every line so far, oldest first."""
    if not home.audit.exists():
        return []
    return [json.loads(line) for line in home.audit.read_text(encoding="utf-8").splitlines()]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user id without a name
        return str(os.getuid())
