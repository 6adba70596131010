"""Linux control groups: what they leave this process, and a group of its own for a task."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_GROUPS = Path("/proc/self/cgroup")
_ROOT = Path("/sys/fs/cgroup")
_NO_LIMIT = 2**62  # version 1 writes a number of pages beyond any machine
_FILES = {  # limit, usage, and what of it can be dropped at any time
    2: ("memory.max", "memory.current", ("inactive_file", "active_file")),
    1: (
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
}


def headroom_bytes(groups: Path = _GROUPS, root: Path = _ROOT) -> int | None:
    """Memory that the groups of this process, and those around them, leave it.

    Args:
        groups: lists the groups of the process.
        root: where they are mounted.

    Returns:
        Bytes, page cache counted as free; ``None`` if no group has a limit.
    """
    left: list[int] = []
    for version, folder, top in _memory_groups(groups, root):
        while True:
            found = _headroom(folder, version)
            left += [] if found is None else [found]
            if folder in (top, folder.parent):
                break
            folder = folder.parent
    return min(left, default=None)


def _memory_groups(groups: Path, root: Path) -> Iterator[tuple[int, Path, Path]]:
    """(version, folder, where it is mounted) of each group that may limit memory."""
    try:
        lines = groups.read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield 2, root / path.lstrip("/"), root
        elif "memory" in controllers.split(","):
            yield 1, root / "memory" / path.lstrip("/"), root / "memory"


def _headroom(folder: Path, version: int) -> int | None:
    limit_file, usage_file, droppable = _FILES[version]
    try:
        limit = (folder / limit_file).read_text(encoding="utf-8").strip()
        usage = int((folder / usage_file).read_text(encoding="utf-8"))
        rows = (folder / "memory.stat").read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError):
        return None
    if not limit.isdigit() or int(limit) >= _NO_LIMIT:
        return None
    cache = dict(row.split() for row in rows if len(row.split()) == 2)
    return max(int(limit) - usage + sum(int(cache.get(name, 0)) for name in droppable), 0)


@contextmanager
def own_group(limit_bytes: int, groups: Path = _GROUPS, root: Path = _ROOT) -> Iterator[bool]:
    """In the block, what this process takes anew is charged to a group with a limit of its own.

    That needs version 2 and a service manager that delegates (systemd's ``Delegate=memory`` with
    ``DelegateSubgroup=``, so that no process sits in the delegated group itself). A process that
    goes beyond the limit is killed by the kernel: it, and not the node beside it.

    Args:
        limit_bytes: of memory that is taken in the block; what the process has stays where it is.
        groups, root: as for :func:`headroom_bytes`.

    Yields:
        Whether there is such a group; without it nothing is changed.
    """
    home = _delegated(groups, root)
    group = None if home is None else home.parent / f"fedtiny-task-{os.getpid()}"
    entered = group is not None and _enter(group, limit_bytes)
    try:
        yield entered
    finally:
        if entered:
            assert home is not None
            assert group is not None
            with suppress(OSError):
                _write(home / "cgroup.procs", str(os.getpid()))
                group.rmdir()


def _delegated(groups: Path, root: Path) -> Path | None:
    """Our own group, if we may make another beside it."""
    for version, folder, top in _memory_groups(groups, root):
        if version == 2 and folder != top and os.access(folder.parent / "cgroup.procs", os.W_OK):
            return folder
    return None


def _enter(group: Path, limit_bytes: int) -> bool:
    try:
        _write(group.parent / "cgroup.subtree_control", "+memory")
        group.mkdir(exist_ok=True)
        _write(group / "memory.max", str(limit_bytes))
        _write(group / "cgroup.procs", str(os.getpid()))
    except OSError:
        with suppress(OSError):
            group.rmdir()
        return False
    return True


def _write(file: Path, text: str) -> None:
    file.write_text(text, encoding="utf-8")
