"""``fedtiny bench peers``: the engine beside who else trains on CPUs, on works that they chose."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from math import isclose
from statistics import median

from fedtiny.bench.contenders import Contender, Steps
from fedtiny.bench.no_peer import NoPeerError
from fedtiny.bench.peer_cases import CASES, OURS, PEERS, Work, contender
from fedtiny.bench.peer_memory import peak_resident_bytes
from fedtiny.bench.train import alternate, check
from fedtiny.bench.workload import Workload
from fedtiny.errors import FedTinyError

REPEATS = 7
_SAME_LOSS = 0.02
"""Relative: bfloat16 has 8 bits."""


@dataclass(frozen=True, slots=True)
class PeerRow:
    """One peer beside us, in turn with it.

    Attributes:
        work: of :class:`Work`.
        peer: of :data:`PEERS`.
        density: weights kept / weights of each sparse layer.
        threads: on which both compute.
        ms_ours, ms_peer: a step's median time.
        speedup: theirs / ours.
        peak_bytes_ours, peak_bytes_peer: how far a process grows that trains.
    """

    work: str
    peer: str
    density: float
    threads: int
    ms_ours: float
    ms_peer: float
    speedup: float
    peak_bytes_ours: int
    peak_bytes_peer: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """A peer that was not measured on a work, and why."""

    work: str
    peer: str
    reason: str


def bench_peers(
    works: Sequence[Work] = tuple(Work),
    repeats: int = REPEATS,
    tell: Callable[[str], object] = lambda _: None,
) -> Iterator[PeerRow | Skipped]:
    """Time and meter every peer on every work, on one thread and on all cores.

    Args:
        works: networks.
        repeats: timed steps of each, ≥ 1.
        tell: called with what is measured next, for people.

    Raises:
        FedTinyError: the engine, PyTorch or threadpoolctl is missing, or a peer does other work
            than we do.
    """
    check(repeats)
    if find_spec("threadpoolctl") is None:
        raise FedTinyError("peers are held to a number of threads by: pip install 'fedtiny[peers]'")
    for work in works:
        skipped: dict[str, str] = {}
        for density in CASES[work].densities:
            for threads in sorted({1, len(os.sched_getaffinity(0))}):
                tell(f"{CASES[work].title}, {density:.0%}, threads {threads}")
                yield from _rows(work, density, threads, repeats, skipped)
        yield from (Skipped(work, peer, reason) for peer, reason in skipped.items())


def _rows(
    work: Work, density: float, threads: int, repeats: int, skipped: dict[str, str]
) -> Iterator[PeerRow]:
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - of the extra "peers"

    task = CASES[work].workload(density, threads)
    there: dict[str, Contender] = {}
    for name in (OURS, *PEERS):
        try:
            there[name] = contender(name, task)
        except NoPeerError as error:
            skipped[name] = str(error)
    with threadpool_limits(threads):
        trainers = {name: one.make() for name, one in there.items()}  # once: some are compiled
        _check_same(task, trainers)
        times = alternate(task, trainers, repeats)
    ms = {name: median(wall for wall, _ in found) for name, found in times.items()}
    peaks = {name: peak_resident_bytes(work, density, threads, name) for name in there}
    for name in PEERS:
        if name in there:
            faster = ms[name] / ms[OURS]
            yield PeerRow(
                work, name, density, threads, round(ms[OURS], 3), round(ms[name], 3),
                round(faster, 2), peaks[OURS], peaks[name],
            )  # fmt: skip


def _check_same(task: Workload, trainers: Mapping[str, Steps]) -> None:
    """All begin with the same weights, so the first loss of all is the same."""
    chosen = task.chosen(0)
    losses = {name: one.step(task.x[chosen], task.y[chosen]) for name, one in trainers.items()}
    for name, loss in losses.items():
        if not isclose(loss, losses[OURS], rel_tol=_SAME_LOSS):
            raise FedTinyError(
                f"{name} begins with a loss of {loss:.4f}, we with {losses[OURS]:.4f}: it does "
                "other work, and nothing can be said of their times"
            )
