"""What happens next on the simulated clock."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, order=True, slots=True)
class Due(Generic[T]):
    """Something that happens.

    Attributes:
        second: simulated time.
        partition: of the device that it happens to: of two at once the lower comes first.
        sequence: tells apart what happens to one device at one time.
        what: it is; takes no part in the order.
    """

    second: float
    partition: int
    sequence: int
    what: T = field(compare=False)


class EventHeap(Generic[T]):
    """Events in the order (second, partition, sequence), whatever the order they are put in.

    >>> heap = EventHeap()
    >>> for due in (Due(2.0, 0, 0, "b"), Due(1.0, 5, 1, "a"), Due(2.0, 0, 1, "c")):
    ...     heap.put(due)
    >>> [heap.take().what for _ in range(len(heap))]
    ['a', 'b', 'c']
    """

    def __init__(self) -> None:
        self._heap: list[Due[T]] = []

    def __len__(self) -> int:
        return len(self._heap)

    def put(self, due: Due[T]) -> None:
        """Something will happen."""
        heapq.heappush(self._heap, due)

    def take(self) -> Due[T]:
        """The next event, which is gone then; IndexError if there is none."""
        return heapq.heappop(self._heap)

    def next_second(self) -> float:
        """When the next event happens; IndexError if there is none."""
        return self._heap[0].second

    def left(self) -> list[Due[T]]:
        """All that is still to happen, in order."""
        return sorted(self._heap)
