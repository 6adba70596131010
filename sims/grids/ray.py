"""Clients on Ray actors of our own: every core works, and the model is copied to each once."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import time
import warnings
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from flwr.app import Error, Message, RecordDict
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from ray.exceptions import RayActorError, RayError
from typing_extensions import override

from fedtiny.errors import FedTinyError
from sims.grids.identity import assume_identity
from sims.grids.local import LocalGrid, RunConfig, call, stamp
from sims.scratch import scratch_folder

_WAIT_S = 0.1  # one pull at most: short enough for a progress display
_IN_FLIGHT = 2  # per actor: one runs, one waits, so that no actor idles while we look away
_OBJECT_STORE_BYTES = 256 << 20
_ENVIRONMENT = {
    "FLWR_TELEMETRY_ENABLED": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # Ray's own 15 starves actors on a machine that does more
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # else actors, which ask for CPUs only, see no GPU
}


class RayStartError(FedTinyError):
    """Ray did not start; the message says what it said."""


class Worker:
    """Lives in an actor: runs the client app on one message after another."""

    def __init__(self, app: str) -> None:
        assume_identity()
        module, _, attribute = app.partition(":")
        self._app: ClientApp = getattr(importlib.import_module(module), attribute)

    def run(self, message: Message, content: RecordDict, context: Any) -> tuple[Message, Any]:  # noqa: ANN401 - Ray's handles have no types
        """The reply to ``message``, whose content travels apart, and the context's new state."""
        message.content = content
        reply = call(self._app, message, context)
        return reply, context.state


@dataclass
class _Job:
    message: Message
    result: Any  # ObjectRef of what Worker.run returns


@dataclass
class _Lane:
    """One actor and what was sent to it, oldest first."""

    actor: Any
    jobs: deque[_Job] = field(default_factory=deque)


class RayGrid(LocalGrid):
    """Spreads clients over Ray actors, one CPU each.

    Actors start in the background while the caller goes on; messages wait for them. A content
    that many messages share is stored once and read by all actors. A node's ``context.state``
    comes back with its reply and goes out with its next message, so it persists as in Flower's
    own engine, for a server that sends a node one message at a time.

    An actor that dies (killed for its memory, say) is replaced; the message it was running and
    those that waited behind it go to another. A message whose second actor dies is answered with
    an error.

    Args:
        app: the client app as ``module:attribute``; every actor imports it.
        partitions, run_config: as for :class:`~sims.grids.local.LocalGrid`.
        actors: how many at most; by default one per available core. Never more than partitions.
    """

    def __init__(
        self, app: str, partitions: int, run_config: RunConfig, actors: int | None = None
    ) -> None:
        super().__init__(partitions, run_config)
        self._app = app
        self._count = min(actors or len(os.sched_getaffinity(0)), partitions)
        self._owns_ray = not ray.is_initialized()
        self._waiting: deque[Message] = deque()
        self._replies: dict[str, Message] = {}
        self._contents: dict[int, Any] = {}
        self._retried: set[str] = set()
        # The kernel ends Ray's processes with the thread that started them: keep it until close.
        self._starter = ThreadPoolExecutor(1, thread_name_prefix="ray-start")
        self._lanes: Future[list[_Lane]] = self._starter.submit(self._start)

    @override
    def push_messages(self, messages: Iterable[Message]) -> Iterable[str]:
        pushed = []
        for message in messages:
            pushed.append(stamp(message))
            self._waiting.append(message)
        return pushed

    @override
    def pull_messages(self, message_ids: Iterable[str]) -> Iterable[Message]:
        """The replies that are there; returns at once with all, after 0.1 s with some or none."""
        wanted = list(message_ids)
        deadline = time.monotonic() + _WAIT_S
        while any(one not in self._replies for one in wanted) and time.monotonic() < deadline:
            self._work(deadline)
        return [self._replies.pop(one) for one in wanted if one in self._replies]

    @override
    def close(self) -> None:
        """End the actors, and Ray if this grid started it."""
        wait([self._lanes])
        if self._owns_ray:
            ray.shutdown()
        elif self._lanes.exception() is None:
            for lane in self._lanes.result():
                ray.kill(lane.actor)
        self._starter.shutdown()

    def _start(self) -> list[_Lane]:
        if self._owns_ray:
            for name, value in _ENVIRONMENT.items():
                os.environ.setdefault(name, value)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                _init_ray(
                    address="local",
                    _temp_dir=str(scratch_folder() / "ray"),
                    num_cpus=self._count,
                    include_dashboard=False,
                    log_to_driver=False,
                    logging_level=logging.ERROR,
                    object_store_memory=_OBJECT_STORE_BYTES,
                    runtime_env=_environment(),
                )
        return [_Lane(self._actor()) for _ in range(self._count)]

    def _actor(self) -> Any:  # noqa: ANN401 - Ray's handles have no types
        remote = ray.remote(num_cpus=1, max_restarts=0, runtime_env=_environment())(Worker)
        return remote.remote(self._app)

    def _work(self, deadline: float) -> None:
        """Hand out what waits, then take in what is ready; idle at most until ``deadline``."""
        try:
            lanes = self._lanes.result(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return
        self._dispatch(lanes)
        running = [job.result for lane in lanes for job in lane.jobs]
        if not running:
            time.sleep(max(0.0, deadline - time.monotonic()))  # nothing of what is wanted is here
            return
        ray.wait(running, timeout=max(0.0, deadline - time.monotonic()))
        ready, _ = ray.wait(running, num_returns=len(running), timeout=0)
        for lane in lanes:
            while lane.jobs and lane.jobs[0].result in ready:
                self._take(lane, lane.jobs.popleft())
        if not self._waiting and not any(lane.jobs for lane in lanes):
            self._contents.clear()

    def _dispatch(self, lanes: list[_Lane]) -> None:
        while self._waiting:
            lane = min(lanes, key=lambda one: len(one.jobs))
            if len(lane.jobs) >= _IN_FLIGHT:
                return
            message = self._waiting.popleft()
            content = self._shared(message.content)
            context = self._context(message.metadata.dst_node_id)
            envelope = copy(message)
            envelope.content = RecordDict()
            lane.jobs.append(_Job(message, lane.actor.run.remote(envelope, content, context)))

    def _shared(self, content: RecordDict) -> Any:  # noqa: ANN401 - Ray's handles have no types
        """A reference to ``content``, which stays alive (and keeps its id) while a job needs it."""
        if id(content) not in self._contents:
            self._contents[id(content)] = ray.put(content)
        return self._contents[id(content)]

    def _take(self, lane: _Lane, job: _Job) -> None:
        node = job.message.metadata.dst_node_id
        try:
            reply, self._contexts[node].state = ray.get(job.result)
        except RayError as error:
            if isinstance(error, RayActorError):
                lost = [job.message] if job.message.metadata.message_id not in self._retried else []
                self._retried.update(one.metadata.message_id for one in lost)
                lost += [one.message for one in lane.jobs]
                self._waiting.extendleft(reversed(lost))
                lane.jobs.clear()
                lane.actor = self._actor()
                if job.message in lost:
                    return
            reply = Message(
                Error(code=ErrorCode.CLIENT_APP_CRASHED, reason=_explain(error)),
                reply_to=job.message,
            )
            stamp(reply)
        self._replies[job.message.metadata.message_id] = reply


def _init_ray(**settings: Any) -> None:  # noqa: ANN401 - what ray.init takes
    """Start Ray; whatever it meets is about this machine, not about the run.

    Raises:
        RayStartError: it did not start.
    """
    try:
        ray.init(**settings)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise RayStartError(
            f"Ray did not start: {lines[0]}; --backend inline runs the same in one process"
        ) from error


def _environment() -> dict[str, Any]:
    """Actors import from where this process does; nothing is uploaded."""
    path = os.pathsep.join(str(Path(entry).absolute()) for entry in sys.path)
    return {"env_vars": {**_ENVIRONMENT, "PYTHONPATH": path}}


def _explain(error: RayError) -> str:
    first = str(error).strip().splitlines()[0]
    if isinstance(error, RayActorError):
        return (
            f"its worker process died and was replaced; most often the machine ran out of memory, "
            f"so try --backend inline or fewer actors (Ray: {first})"
        )
    return f"{type(error).__name__}: {first}"
