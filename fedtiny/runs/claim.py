"""A new run's folder: made, locked, and an earlier run of its name moved aside, all at once."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from fedtiny.errors import FedTinyError
from fedtiny.escaping.file_name import check_file_name
from fedtiny.runs import lock
from fedtiny.runs.folder import CONFIG, LOCK, RunFolder

_TRIES = 100
_NOTHING = {LOCK, f".{CONFIG}.tmp"}
"""What a launch that was killed at once leaves."""


@contextmanager
def claim(out: Path, name: str, doing: str = "a run") -> Iterator[tuple[RunFolder, Path | None]]:
    """A locked folder ``out/name`` that holds nothing else.

    What is renamed lies in ``out`` and goes to ``out/name.1``, ``.2``, …; it is a run folder in
    which nobody works. Of several processes at once each gets what it asks for or is refused.

    Args:
        out: made if need be.
        name: of the run, one part of a path.
        doing: for those who find it locked.

    Yields:
        The folder, and where the earlier run went.

    Raises:
        LockedError: somebody works in it.
        FedTinyError: something that is no run has this name, or the folder cannot be made.
    """
    path = out / check_file_name("name", name)
    try:
        out.mkdir(parents=True, exist_ok=True)
        held, aside = _take(path, doing)
    except OSError as error:
        raise FedTinyError(
            f"the run folder {path} cannot be made: {error.strerror}; choose another --out"
        ) from error
    try:
        yield RunFolder(path), aside
    finally:
        lock.release(held)


def _take(path: Path, doing: str) -> tuple[int, Path | None]:
    """(lock, where the earlier run went)."""
    aside = None
    for _ in range(_TRIES):
        _make(path)
        try:
            _check_ours(path, (LOCK, CONFIG))
            held = lock.acquire(path / LOCK, str(path), doing)
        except FileNotFoundError:
            continue  # its owner moved it aside just now
        try:
            if not lock.is_still(path / LOCK, held):
                continue
            if _is_empty(path):
                taken, held = held, -1
                return taken, aside
            _check_ours(path, (CONFIG,))
            aside = _move_aside(path)
        finally:
            if held >= 0:
                lock.release(held)
    raise FedTinyError(f"{path} keeps changing: other runs of this name start all the time")


def _make(path: Path) -> None:
    """A folder, unless there is one, or was until its owner moved it aside just now.

    Raises:
        OSError: something else is there, or it cannot be made.
    """
    try:
        path.mkdir(exist_ok=True)
    except FileExistsError:
        with suppress(FileNotFoundError):
            if not stat.S_ISDIR(path.lstat().st_mode):
                raise


def _check_ours(path: Path, marks: Sequence[str]) -> None:
    """Only a folder of a run, which has one of ``marks``, or an empty one is moved or filled."""
    if path.is_symlink():
        raise FedTinyError(
            f"{path} is a link, and what it leads to is not ours to move: choose another name"
        )
    with os.scandir(path) as found:  # looked at once: in between it may become another's folder
        files = {one.name: one.is_file() for one in found}
    if files.keys() - _NOTHING and not any(files.get(mark) for mark in marks):
        raise FedTinyError(
            f"{path} exists and is no run folder: choose another name, or another --out"
        )


def _is_empty(path: Path) -> bool:
    return all(one.name in _NOTHING for one in path.iterdir())


def _move_aside(path: Path) -> Path:
    """Rename to the first free number; making the empty target reserves it."""
    n = 1
    while True:
        aside = path.with_name(f"{path.name}.{n}")
        try:
            aside.mkdir()
        except FileExistsError:
            n += 1
            continue
        return path.rename(aside)
