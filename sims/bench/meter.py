"""When exchanges end, and the processors' time of a deployment's processes meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from types import TracebackType
from typing import Self

import psutil

from fedtiny.errors import FedTinyError
from sims.deploy import processes, superlink
from sims.deploy.home import Home

_LOOK_S = 0.1


@dataclass(frozen=True, slots=True)
class Metered:
    """A run's exchanges but the first, which begins with what later ones do not.

    Attributes:
        seconds: of each, from the end of the one before; exact to a tenth.
        server_cpu_s: of SuperLink and ServerApp in all these exchanges.
        nodes_cpu_s: of all nodes, their clients included.
    """

    seconds: tuple[float, ...]
    server_cpu_s: float
    nodes_cpu_s: float


@dataclass(frozen=True, slots=True)
class _Mark:
    at: float
    server_cpu_s: float
    nodes_cpu_s: float


class Meter:
    """Looks ten times a second, as long as it is entered, whether another exchange is over.

    Args:
        home: of the deployment; all its processes run.
        done: how many exchanges are over by now.
    """

    def __init__(self, home: Home, done: Callable[[], int]) -> None:
        started = processes.recorded(home)
        self._server = [one.pid for one in started if one.name == superlink.NAME]
        self._nodes = [one.pid for one in started if one.name != superlink.NAME]
        self._done = done
        self._marks: list[_Mark] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join()

    def found(self) -> Metered:
        """What was seen until it was left.

        Raises:
            FedTinyError: fewer than two exchanges were.
        """
        if len(self._marks) < 2:
            raise FedTinyError(f"only {len(self._marks)} exchanges were seen; run more")
        first, last = self._marks[0], self._marks[-1]
        return Metered(
            tuple(after.at - before.at for before, after in pairwise(self._marks)),
            last.server_cpu_s - first.server_cpu_s,
            last.nodes_cpu_s - first.nodes_cpu_s,
        )

    def _watch(self) -> None:
        while not self._stop.wait(_LOOK_S):
            if self._done() > len(self._marks):
                at = time.monotonic()
                self._marks.append(_Mark(at, _cpu_s(self._server), _cpu_s(self._nodes)))


def _cpu_s(roots: Iterable[int]) -> float:
    """Seconds of processors' time of these processes and all that they started.

    Children that ended are in their parents' time once these have asked for their status.
    """
    total = 0.0
    for root in roots:
        above = psutil.Process(root)
        for one in (above, *above.children(recursive=True)):
            with suppress(psutil.NoSuchProcess):  # it ended a moment ago
                total += sum(one.cpu_times()[:4])
    return total
