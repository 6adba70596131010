"""What the C library keeps of freed memory, and giving it back."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_M_MMAP_THRESHOLD = -3  # of malloc.h
_LARGE_BYTES = 256 << 10


def return_large_blocks() -> None:
    """Have the allocator ask for every large array anew and give it back at once (glibc only).

    Left to itself it keeps ever larger ones in its heap, where a limit on what is asked for does
    not see them.
    """
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)


def trim() -> bool:
    """Give memory that was freed back to the system; whether there was any (glibc only)."""
    try:
        return bool(ctypes.CDLL(None).malloc_trim(0))
    except (OSError, AttributeError):  # another C library: it has no such function
        return False
