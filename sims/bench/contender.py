"""One engine's turn, in a process of its own: batches of tasks, a plain loop after each.

``python -m sims.bench.contender BACKEND CASES``: started by :mod:`sims.bench.simulator`; prints
JSON. Every measured batch is followed by the same work in a plain loop on as many cores, so that
whatever else the machine does disturbs both alike.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from sims.backends import Backend, silence_flower
from sims.bench.work import ACTION, APP, PlainLoops, app, task
from strategies.post import Post

_TIMEOUT_S = 600.0


@dataclass(frozen=True, slots=True)
class Case:
    """What is measured at once.

    Attributes:
        clients: nodes of the grid.
        work_ms: of a task, on an idle core.
        tasks: in a batch, one to a node.
        batches: how often.
        hashes: that ``work_ms`` stands for.
    """

    clients: int
    work_ms: float
    tasks: int
    batches: int
    hashes: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What a case came to.

    Attributes:
        case: measured.
        seconds: of every batch.
        plain_seconds: of the same work in a plain loop, right after it.
        rss_bytes: resident in the driver afterwards.
    """

    case: Case
    seconds: list[float]
    plain_seconds: list[float]
    rss_bytes: int


def measure(grid: Grid, cases: Sequence[Case], cores: int) -> list[Turn]:
    """The cases in turn, on a grid that has their clients."""
    post = Post(grid, _TIMEOUT_S)
    nodes = post.wait_for(max(case.clients for case in cases))
    turns = []
    with PlainLoops(cores) as plain:
        _ask(post, nodes[: 2 * cores], 1)  # everybody has started
        for case in cases:
            seconds, plain_seconds = [], []
            for batch in range(case.batches):
                start = batch * case.tasks % case.clients
                seconds.append(_ask(post, nodes[start : start + case.tasks], case.hashes))
                plain_seconds.append(plain.seconds(case.tasks, case.hashes))
            turns.append(Turn(case, seconds, plain_seconds, rss_bytes()))
    return turns


def _ask(post: Post, nodes: Sequence[int], hashes: int) -> float:
    content = task(hashes)
    started = time.perf_counter()
    replies = post.deliver(dict.fromkeys(nodes, content), ACTION, 1)
    seconds = time.perf_counter() - started
    assert len(replies) == len(nodes)
    for reply in replies.values():
        assert reply.has_content(), reply.error.reason
    return seconds


def rss_bytes() -> int:
    """Resident in this process now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _inline(clients: int, cores: int, run: Callable[[Grid], None]) -> None:
    from sims.grids.inline import InlineGrid  # noqa: PLC0415 - after silence_flower

    del cores
    run(InlineGrid(app, clients, {}))


def _ray(clients: int, cores: int, run: Callable[[Grid], None]) -> None:
    from sims.grids.ray import RayGrid  # noqa: PLC0415 - after silence_flower

    grid = RayGrid(APP, clients, {}, cores)
    try:
        run(grid)
    finally:
        grid.close()


class AskedAtOnce:
    """Flower's grid polled as a simulator's, not as a network: every 5 ms.

    Args:
        grid: of its simulation engine.
    """

    def __init__(self, grid: Grid) -> None:
        self.get_node_ids, self.push_messages = grid.get_node_ids, grid.push_messages
        self.pull_messages = grid.pull_messages

    def node_of(self, partition: int) -> int:
        """Nobody asks: it is what a simulator's grid is known by."""
        raise NotImplementedError


def _flower(clients: int, cores: int, run: Callable[[Grid], None]) -> None:
    from flwr.simulation import run_simulation  # noqa: PLC0415 - after silence_flower

    server = ServerApp()

    @server.main()
    def main(grid: Grid, context: Context) -> None:
        del context
        run(cast(Grid, AskedAtOnce(grid)))

    resources: dict[str, Any] = {
        "client_resources": {"num_cpus": 1},
        "init_args": {"num_cpus": cores, "include_dashboard": False},
    }
    run_simulation(server, app, clients, backend_config=resources)


_ENGINES = {Backend.INLINE: _inline, Backend.RAY: _ray, Backend.FLOWER: _flower}


def take_turn(backend: Backend, cases: Sequence[Case], cores: int) -> list[Turn]:
    """Start an engine, measure, end it."""
    turns: list[Turn] = []
    clients = max(case.clients for case in cases)
    cores = 1 if backend is Backend.INLINE else cores
    _ENGINES[backend](clients, cores, lambda grid: turns.extend(measure(grid, cases, cores)))
    return turns


if __name__ == "__main__":
    silence_flower()
    asked = json.loads(sys.argv[2])
    found = take_turn(Backend(sys.argv[1]), [Case(**one) for one in asked["cases"]], asked["cores"])
    Path(asked["out"]).write_text(json.dumps([asdict(one) for one in found]), encoding="utf-8")
