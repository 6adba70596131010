"""The static memory planner: buffers of one program share a block of bytes by when they live.

Training plans and firmware use the same one, each with its own alignment.
"""

from __future__ import annotations

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

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
    lives = tuple((aligned(one.nbytes, alignment), one.first, one.last) for one in buffers)
    size, offsets = _placed(lives)
    for buffer, offset in zip(buffers, offsets, strict=True):
        buffer.offset = offset
    return size


_Life = tuple[int, int, int]
"""Of a buffer: its aligned size, and the first and last step in which it is used."""


@lru_cache(maxsize=64)
def _placed(lives: tuple[_Life, ...]) -> tuple[int, tuple[int, ...]]:
    """The block's size, and every buffer's offset; a simulator's devices ask the same again."""
    numbers = range(len(lives))
    orders = (
        sorted(numbers, key=lambda k: (-lives[k][0], lives[k][1])),
        sorted(numbers, key=lambda k: (lives[k][1], -lives[k][0])),
        sorted(numbers, key=lambda k: (lives[k][1] - lives[k][2], -lives[k][0])),
    )
    return min((_greedy(order, lives) for order in orders), key=lambda found: found[0])


def _greedy(order: Sequence[int], lives: Sequence[_Life]) -> tuple[int, tuple[int, ...]]:
    placed: list[tuple[int, int, int, int]] = []  # (offset, end, first, last), by offset
    offsets = [0] * len(lives)
    for number in order:
        offset, (needed, begins, ends) = 0, lives[number]
        for start, end, first, last in placed:
            if last < begins or ends < first:
                continue
            if offset + needed <= start:
                break
            offset = max(offset, end)
        offsets[number] = offset
        insort(placed, (offset, offset + needed, begins, ends))
    return max((end for _, end, _, _ in placed), default=0), tuple(offsets)


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
