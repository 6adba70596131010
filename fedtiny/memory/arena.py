"""The static memory planner: buffers of one program share a block of bytes by when they live.

Training plans and firmware use the same one, each with its own alignment.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

from fedtiny.memory.ledger import LedgerLine


@dataclass(slots=True, eq=False)
class Buffer:
    """Bytes needed from the program's step ``first`` to its step ``last``, both included.

    Attributes:
        name: for messages.
        nbytes: size.
        line: what the bytes are spent on; temporaries unless said.
        first, last: the earliest and the latest step that uses it; −1 as long as none does.
        offset: place in the block in bytes, set by :func:`place`.
    """

    name: str
    nbytes: int
    line: LedgerLine = LedgerLine.TEMPORARIES
    first: int = -1
    last: int = -1
    offset: int = -1

    def use(self, step: int) -> None:
        """Extend the life to ``step``, which is no earlier than any before."""
        self.first = step if self.first < 0 else self.first
        self.last = step


def aligned(nbytes: int, alignment: int) -> int:
    """``nbytes`` rounded up to a multiple of ``alignment``.

    >>> aligned(65, 64), aligned(65, 8)
    (128, 72)
    """
    return -(-nbytes // alignment) * alignment


def place(buffers: Sequence[Buffer], alignment: int) -> int:
    """Give every buffer an offset such that those alive together never overlap.

    Three greedy orders are tried: largest first, first used first, longest-lived first. The
    smallest block is kept, the earlier order's of equals; each buffer takes the lowest gap that
    fits (Pisarchyk & Lee 2020, arXiv 2001.03288, §5.2).

    Args:
        buffers: with their lives; those that an order cannot tell apart are taken as listed.
        alignment: of every offset, in bytes; sizes are rounded up to it.

    Returns:
        Size of the block in bytes.

    >>> a, b, c = Buffer("a", 64), Buffer("b", 64), Buffer("c", 64)
    >>> a.use(0), b.use(0), b.use(1), c.use(1)
    (None, None, None, None)
    >>> place([a, b, c], 64), a.offset, b.offset, c.offset
    (128, 0, 64, 0)
    """
    sizes = {id(buffer): aligned(buffer.nbytes, alignment) for buffer in buffers}
    orders = (
        sorted(buffers, key=lambda b: (-sizes[id(b)], b.first)),
        sorted(buffers, key=lambda b: (b.first, -sizes[id(b)])),
        sorted(buffers, key=lambda b: (b.first - b.last, -sizes[id(b)])),
    )
    size, offsets = min((_greedy(order, sizes) for order in orders), key=lambda found: found[0])
    for buffer in buffers:
        buffer.offset = offsets[id(buffer)]
    return size


def _greedy(order: Sequence[Buffer], sizes: dict[int, int]) -> tuple[int, dict[int, int]]:
    placed: list[tuple[int, int, int, int]] = []  # (offset, end, first, last), by offset
    offsets: dict[int, int] = {}
    for buffer in order:
        offset, needed = 0, sizes[id(buffer)]
        for start, end, first, last in placed:
            if last < buffer.first or buffer.last < first:
                continue
            if offset + needed <= start:
                break
            offset = max(offset, end)
        offsets[id(buffer)] = offset
        insort(placed, (offset, offset + needed, buffer.first, buffer.last))
    return max((end for _, end, _, _ in placed), default=0), offsets


def alive(buffers: Sequence[Buffer], step: int) -> list[Buffer]:
    """The buffers whose life includes ``step``."""
    return [buffer for buffer in buffers if buffer.first <= step <= buffer.last]


def live_bytes(buffers: Sequence[Buffer], step: int, alignment: int) -> int:
    """Bytes alive at ``step``, each buffer rounded up; no block is smaller."""
    return sum(aligned(buffer.nbytes, alignment) for buffer in alive(buffers, step))


def peak(buffers: Sequence[Buffer], size: int, alignment: int) -> dict[LedgerLine, int]:
    """What a block of ``size`` bytes is spent on at the step where most of it is alive.

    Gaps of the placement count as temporaries, so that the lines add up to ``size``.
    """
    last = max((buffer.last for buffer in buffers), default=0)
    busiest = max(range(last + 1), key=lambda step: live_bytes(buffers, step, alignment))
    lines = dict.fromkeys(LedgerLine, 0)
    for buffer in alive(buffers, busiest):
        lines[buffer.line] += aligned(buffer.nbytes, alignment)
    lines[LedgerLine.TEMPORARIES] += size - sum(lines.values())
    return lines
