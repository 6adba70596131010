"""A client whose work is a stated number of hashes, and the same hashes in a plain loop."""

from __future__ import annotations

import hashlib
import time
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Self

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

APP = "sims.bench.work:app"
ACTION = "train"
VALUES = 5_000
"""float32 numbers in a task and in its reply: the weights of ResNet-8 at 5 % density, about."""

_BLOCK = bytes(4096)

app = ClientApp()


def work(hashes: int) -> bytes:
    """So many SHA-256 of 4 KiB, one after another: it keeps one core busy and no memory."""
    digest = b""
    for _ in range(hashes):
        digest = hashlib.sha256(_BLOCK + digest).digest()
    return digest


def hashes_per_ms() -> float:
    """Measured: the best of some tries, which other work on the machine disturbs least."""
    best = 0.0
    for _ in range(20):
        started = time.perf_counter()
        work(500)
        best = max(best, 500 / (1e3 * (time.perf_counter() - started)))
    return best


def task(hashes: int) -> RecordDict:
    """What a client is sent: a model's values and how much to do."""
    values = Array(np.ones(VALUES, np.float32))
    return RecordDict(
        {"arrays": ArrayRecord({"values": values}), "scalars": ConfigRecord({"hashes": hashes})}
    )


@app.train()
def train(message: Message, context: Context) -> Message:
    """Read the values, do the work, send them back; the node's state is used, too."""
    values = message.content.array_records["arrays"]["values"].numpy()
    work(int(str(message.content.config_records["scalars"]["hashes"])))
    context.state["seen"] = ConfigRecord({"task": 1})
    answer = ArrayRecord({"values": Array(values + np.float32(1))})
    return Message(RecordDict({"arrays": answer}), reply_to=message)


class PlainLoops:
    """The same work in a plain loop, in this process or in several that wait for it.

    Args:
        processes: 1 for this one.
    """

    def __init__(self, processes: int) -> None:
        self._workers: list[tuple[BaseProcess, Connection]] = []
        spawn = get_context("spawn")
        for _ in range(processes if processes > 1 else 0):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            self._workers.append((process, ours))
        self.seconds(len(self._workers), 1)  # until all have started

    def seconds(self, tasks: int, hashes: int) -> float:
        """What ``tasks`` pieces of work take, dealt evenly to the processes."""
        started = time.perf_counter()
        if not self._workers:
            for _ in range(tasks):
                work(hashes)
            return time.perf_counter() - started
        count = len(self._workers)
        for k, (_, pipe) in enumerate(self._workers):
            pipe.send((len(range(k, tasks, count)), hashes))
        for _, pipe in self._workers:
            pipe.recv()
        return time.perf_counter() - started

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process, pipe in self._workers:
            pipe.send(None)
            process.join()


def _serve(pipe: Connection) -> None:
    while (asked := pipe.recv()) is not None:
        tasks, hashes = asked
        for _ in range(tasks):
            work(hashes)
        pipe.send(True)
