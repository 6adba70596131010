"""How every command ends when something goes wrong: one sentence, and a status that says whose."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from rich.text import Text

from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen, terminal_text

DEBUG_VARIABLE = "FEDTINY_DEBUG"

OURS, USERS, INTERRUPTED = 1, 2, 130
"""Exit statuses: a fault of FedTiny, something the user can put right, Ctrl-C."""

_SPACE = "free some space, or choose another folder"
_RIGHTS = "choose a place that you may write to, or change its permissions"
_FILES = "raise the limit, e.g. `ulimit -n 4096`"
_FIXES = {
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _SPACE,
    errno.EFBIG: _SPACE,
    errno.EACCES: _RIGHTS,
    errno.EPERM: _RIGHTS,
    errno.EROFS: _RIGHTS,
    errno.ENOENT: "check the path and the folder it lies in",
    errno.ENOTDIR: "a part of this path is a file: choose another path",
    errno.EISDIR: "this is a folder: name a file",
    errno.EEXIST: "move it away, or choose another path",
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.ENAMETOOLONG: "choose a shorter name or path",
}
_MEMORY = (
    "this machine has too little memory for that: end other programs, or choose fewer workers, a "
    "smaller batch or a smaller model"
)
_OUR_ROOMS = ("fedtiny", "clients", "strategies", "sims")
_BACKENDS = ("ray", "flwr", "grpc")
"""Packages whose errors are about the machine; the core does not import them to name them."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How a command ends.

    Attributes:
        status: exit status.
        sentence: what is wrong, where, and what to do; empty if nobody is there to read it.
    """

    status: int
    sentence: str


@contextmanager
def user_errors(debug: bool = False, as_json: bool = False) -> Iterator[None]:
    """Errors within end the process: a sentence on standard error and one of the statuses above.

    Args:
        debug: print the traceback, too; so does ``FEDTINY_DEBUG=1`` in the environment.
        as_json: the sentence comes as ``{"error": …, "status": …}``.

    Raises:
        SystemExit: something went wrong.
    """
    try:
        yield
        sys.stdout.flush()  # else a full disk is found only after the last line of ours
    except (Exception, KeyboardInterrupt) as error:
        ending = explain(error)
        with suppress(OSError, ValueError):  # standard error itself may be full or closed
            if debug or os.environ.get(DEBUG_VARIABLE, "0") not in ("", "0"):
                traceback.print_exception(error)
            _say(ending, as_json)
        _drop_what_cannot_be_written()
        raise SystemExit(ending.status) from None


def explain(error: BaseException) -> Ending:
    """Whose error it is, and a sentence about it.

    >>> explain(FedTinyError("no such board"))
    Ending(status=2, sentence='no such board')
    >>> explain(OSError(28, "No space left on device", "runs/a"))
    Ending(status=2, sentence='runs/a: no space left on device; free some space, or choose ...')
    >>> explain(KeyError("x")).status
    1
    """
    match error:
        case FedTinyError():
            return Ending(USERS, str(error))
        case KeyboardInterrupt():
            return Ending(INTERRUPTED, "interrupted")
        case BrokenPipeError():
            return Ending(OURS, "")  # nobody reads on: `fedtiny … | head`
        case OSError():
            return Ending(USERS, _os_error(error))
        case UnicodeError():
            return Ending(USERS, f"a text or its file is not UTF-8 ({error}); save it as UTF-8")
        case ImportError() if (error.name or "").partition(".")[0] not in _OUR_ROOMS:
            return Ending(USERS, f"{error}: run `make install`, or pip install the extra it is of")
        case subprocess.SubprocessError():
            return Ending(USERS, str(error))
    if isinstance(error, MemoryError) or _is_torch_out_of_memory(error):
        return Ending(USERS, _MEMORY)
    if _comes_from(error, _BACKENDS):
        reason = _first_line(error)
        return Ending(USERS, f"{type(error).__name__}: {reason}; --backend inline needs neither")
    return Ending(
        OURS,
        f"a fault of FedTiny: {type(error).__name__}: {_first_line(error)}; run again with --debug "
        "and report what it prints",
    )


def _os_error(error: OSError) -> str:
    if error.errno == errno.ENOMEM:
        return _MEMORY
    if error.strerror is None:
        return str(error) or type(error).__name__
    names = [str(name) for name in (error.filename, error.filename2) if name is not None]
    where = f"{' -> '.join(names)}: " if names else ""
    fix = _FIXES.get(error.errno or 0, "")
    said = error.strerror[:1].lower() + error.strerror[1:]
    return f"{where}{said}{f'; {fix}' if fix else ''}"


def _is_torch_out_of_memory(error: BaseException) -> bool:
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or "can't allocate memory" in str(error)
    )


def _comes_from(error: BaseException, packages: tuple[str, ...]) -> bool:
    modules = {kind.__module__.partition(".")[0] for kind in type(error).__mro__}
    return not modules.isdisjoint(packages)


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "it says no more")


def _say(ending: Ending, as_json: bool) -> None:
    if not ending.sentence:
        return
    if as_json:
        print(json.dumps({"error": ending.sentence, "status": ending.status}), file=sys.stderr)
        return
    mark = Text("" if ending.status == INTERRUPTED else "error: ", "red")
    line = mark + terminal_text(ending.sentence)
    Screen(stderr=True).say(line)


def _drop_what_cannot_be_written() -> None:
    """Else the interpreter tries again at its end, and complains in its own way."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
