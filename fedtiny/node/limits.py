"""A task within a budget that the operating system holds: who asks for more gets no memory."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from fedtiny.memory.allocator import return_large_blocks, trim
from fedtiny.node.control_group import headroom_bytes, own_group
from fedtiny.node.machine import free_ram_bytes

ALLOWANCE_BYTES = 32 << 20
"""What a task may take beside its budget: Python's own objects, the allocator's rounding."""

_VICTIM = 500  # of at most 1000


def free_memory_bytes() -> int | None:
    """Memory that this process could still take: what the machine has, or its control groups
    leave it, whichever is less; ``None`` if the system tells neither."""
    known = [size for size in (free_ram_bytes() or None, headroom_bytes()) if size is not None]
    return min(known, default=None)


def mapped_bytes(status: Path = Path("/proc/self/statm")) -> int:
    """Address space that this process has now, in bytes; 0 if the system does not tell."""
    try:
        pages = int(status.read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError):
        return 0
    return pages * resource.getpagesize()


@contextmanager
def limited(budget_bytes: int) -> Iterator[None]:
    """In the block, asking for more than ``budget_bytes`` and the allowance raises MemoryError.

    What the process has mapped already is not counted. The limit is on address space, which a
    process cannot take without asking; where control groups are delegated, one with the same limit
    on pages stands behind it. If all memory runs out, the kernel ends this process, not the node.
    """
    limit = budget_bytes + ALLOWANCE_BYTES
    be_the_victim()
    return_large_blocks()
    trim()
    with own_group(limit), _address_space(limit):
        yield


def be_the_victim() -> None:
    """If memory runs out, the kernel ends this process first: an update is lost, not a node."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(_VICTIM), encoding="utf-8")


@contextmanager
def _address_space(limit_bytes: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    mapped = mapped_bytes()
    wanted = [mapped + limit_bytes, *(one for one in (soft, hard) if one != resource.RLIM_INFINITY)]
    if mapped:
        resource.setrlimit(resource.RLIMIT_AS, (min(wanted), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
