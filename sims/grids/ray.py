"""Clients on Ray actors of our own: every core works, and the model is copied to each once."""

from __future__ import annotations

import os
import pickle
import time
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import ray
from flwr.app import Error, Message, RecordDict
from flwr.common.constant import ErrorCode
from ray.exceptions import RayError, RayTaskError
from typing_extensions import override

from sims.grids import ray_start
from sims.grids.local import LocalGrid, RunConfig, partition_of, stamp
from sims.grids.ray_start import RayStartError
from sims.grids.ray_worker import Answer, Envelope, Hello, Luggage, Worker

_WAIT_S = 0.1  # one pull at most: short enough for a progress display
_IN_FLIGHT = 2  # batches per actor: one runs, one waits, so that no actor idles while we look away
_BATCH_S = 0.05  # of work in a batch: what a batch costs is then small beside it
_START_S = 120.0
_FAILED_STARTS = 3  # in a row, of actors: then it is no accident


@dataclass
class _Job:
    messages: list[Message]
    result: Any  # ObjectRef of what Worker.run returns


@dataclass
class _Lane:
    """One actor and what was sent to it, oldest first.

    ``hello`` is the reference to its first word; ``node`` is empty until that is heard.
    """

    actor: Any
    hello: Any
    node: str = ""
    jobs: deque[_Job] = field(default_factory=deque)


class RayGrid(LocalGrid):
    """Spreads clients over Ray actors, one CPU each, on this machine or on a cluster.

    Actors start in the background while the caller goes on; messages wait for them. Short tasks
    travel several at once; a content that many messages share is stored once and decoded once by
    every actor. A node's ``context.state`` comes back with its reply and goes out with its next
    message, so it persists as in Flower's own engine, for a server that sends a node one message
    at a time.

    An actor that dies (killed for its memory, say, or with its machine) is replaced; the messages
    that it was running and those that waited behind them go to others. A message whose second
    actor dies is answered with an error.

    On a cluster actors find nothing of this machine's files: our code is uploaded when the cluster
    is joined, the config travels to every actor, and a device's samples to each machine that has
    to do with the device, once.

    Args:
        app: the client app as ``module:attribute``; every actor imports it.
        partitions, run_config: as for :class:`~sims.grids.local.LocalGrid`.
        actors: how many at most; by default one per available core. Never more than partitions.
        address: of a running cluster; by default that in ``RAY_ADDRESS``, else none.
    """

    def __init__(
        self,
        app: str,
        partitions: int,
        run_config: RunConfig,
        actors: int | None = None,
        address: str = "",
    ) -> None:
        super().__init__(partitions, run_config)
        self._app = app
        self._actors = actors
        self._address = address or os.environ.get(ray_start.ADDRESS, "")
        self._luggage: Luggage | None = ray_start.pack(run_config) if self._address else None
        self._owns_ray = not ray.is_initialized()
        self._waiting: deque[Message] = deque()
        self._replies: dict[str, Message] = {}
        self._contents: dict[int, Any] = {}
        self._retried: set[str] = set()
        self._sent: set[tuple[str, int]] = set()  # (Ray's node, partition): samples that are there
        self._seconds = 0.0  # of a task, lately
        self._failed_starts = 0
        self._started = time.monotonic()
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
        while len(self._replies) < len(wanted) and time.monotonic() < deadline:
            self._work(deadline)
        return [self._replies.pop(one) for one in wanted if one in self._replies]

    @override
    def close(self) -> None:
        """End the actors, and Ray if this grid started it."""
        wait([self._lanes])
        if self._lanes.exception() is None:
            lanes = self._lanes.result()
            if self._luggage is not None:
                ray.wait([lane.actor.leave.remote() for lane in lanes if lane.node], timeout=5.0)
            for lane in lanes:
                ray.kill(lane.actor)
        if self._owns_ray:
            ray.shutdown()
        self._starter.shutdown()

    def _start(self) -> list[_Lane]:
        if self._owns_ray and self._address:
            ray_start.join(self._address)
        count = self._actors
        if count is None:
            on_cluster = self._luggage is not None
            count = ray_start.cluster_cpus() if on_cluster else len(os.sched_getaffinity(0))
        count = min(count, self._partitions)
        if self._owns_ray and not self._address:
            ray_start.start_local(count)
        return [_Lane(*self._actor()) for _ in range(count)]

    def _actor(self) -> tuple[Any, Any]:
        """A new actor and its first word, which it says when it has started."""
        environment = None if self._luggage else ray_start.local_environment()
        options: dict[str, Any] = {"runtime_env": environment} if environment else {}
        remote = ray.remote(num_cpus=1, max_restarts=0, **options)(Worker)
        settings = self._app, self._partitions, self._run_config, self._luggage
        actor: Any = remote.remote(*settings)
        return actor, actor.hello.remote()

    def _work(self, deadline: float) -> None:
        """Hand out what waits, then take in what is ready; idle at most until ``deadline``."""
        try:
            lanes = self._lanes.result(timeout=max(0.0, deadline - time.monotonic()))
        except TimeoutError:
            return
        self._dispatch([lane for lane in lanes if lane.node])
        running = [job.result for lane in lanes for job in lane.jobs]
        running += [lane.hello for lane in lanes if not lane.node]
        if not running:
            time.sleep(max(0.0, deadline - time.monotonic()))  # nothing of what is wanted is here
            return
        ray.wait(running, timeout=max(0.0, deadline - time.monotonic()))
        ready = set(ray.wait(running, num_returns=len(running), timeout=0)[0])
        for lane in lanes:
            if not lane.node and lane.hello in ready:
                self._welcome(lane)
            while lane.jobs and lane.jobs[0].result in ready:
                self._take(lane, lane.jobs.popleft())
        if not any(lane.node for lane in lanes) and time.monotonic() - self._started > _START_S:
            raise RayStartError(
                f"no actor started within {_START_S:.0f} s: `ray status` says whether others hold "
                "the cluster's CPUs"
            )
        if not self._waiting and not any(lane.jobs for lane in lanes):
            self._contents.clear()

    def _welcome(self, lane: _Lane) -> None:
        try:
            hello: Hello = ray.get(lane.hello)
        except RayError as error:
            self._failed_starts += 1
            if isinstance(error, RayTaskError) or self._failed_starts >= _FAILED_STARTS:
                raise RayStartError(f"an actor did not start: {error}") from error
            self._replace(lane)
            return
        if self._luggage is not None:
            ray_start.check_kind(hello)
        self._failed_starts, lane.node = 0, hello.node

    def _replace(self, lane: _Lane) -> None:
        lane.actor, lane.hello = self._actor()
        lane.node = ""

    def _dispatch(self, lanes: Sequence[_Lane]) -> None:
        """What an actor died of once goes out by itself, so that nothing dies of it a second time.

        Not even the answer before it, which may still be on its way when the actor is gone.
        """
        free = [
            lane
            for lane in lanes
            if not any(self._is_retried(job.messages[0]) for job in lane.jobs)
        ]
        while self._waiting and free:
            lane = min(free, key=lambda one: len(one.jobs))
            alone = self._is_retried(self._waiting[0])
            if len(lane.jobs) >= (1 if alone else _IN_FLIGHT):
                return
            count = 1 if alone else self._batch(len(lanes))
            messages = [self._waiting.popleft()]
            while len(messages) < count and not self._is_retried(self._waiting[0]):
                messages.append(self._waiting.popleft())
            lane.jobs.append(_Job(messages, self._send(lane, messages)))
            if alone:
                free.remove(lane)

    def _is_retried(self, message: Message) -> bool:
        return message.metadata.message_id in self._retried

    def _batch(self, lanes: int) -> int:
        """How many messages go to an actor at once: not so many that others would be idle."""
        if not self._seconds:
            return 1
        fair = -(-len(self._waiting) // (_IN_FLIGHT * lanes))
        return max(1, min(fair, int(_BATCH_S / self._seconds)))

    def _send(self, lane: _Lane, messages: Sequence[Message]) -> Any:  # noqa: ANN401 - Ray's handles have no types
        contents: dict[int, int] = {}
        envelopes, files = [], []
        for message in messages:
            index = contents.setdefault(id(message.content), len(contents))
            bare = copy(message)
            bare.content = RecordDict()
            node = message.metadata.dst_node_id
            envelopes.append(Envelope(bare, index, self._state(node)))
            files += self._files(lane, partition_of(node))
        held = [self._shared_content(one.content) for one in _distinct(messages, contents)]
        packed = pickle.dumps(envelopes, pickle.HIGHEST_PROTOCOL)
        return lane.actor.run.remote(packed, held, files)

    def _files(self, lane: _Lane, partition: int) -> list[tuple[str, bytes]]:
        """A device's samples, where the actor's machine does not have them."""
        if self._luggage is None or (lane.node, partition) in self._sent:
            return []
        self._sent.add((lane.node, partition))
        found = ray_start.share_of(self._run_config, partition)
        return [] if found is None else [found]

    def _shared_content(self, content: RecordDict) -> Any:  # noqa: ANN401 - Ray's handles have no types
        """A reference to ``content``, which stays alive (and keeps its id) while a job needs it."""
        if id(content) not in self._contents:
            self._contents[id(content)] = ray.put(content)
        return self._contents[id(content)]

    def _take(self, lane: _Lane, job: _Job) -> None:
        try:
            packed, seconds = ray.get(job.result)
        except RayTaskError as error:
            self._fail(job.messages, error)
            return
        except RayError as error:
            self._lost(lane, job, error)
            return
        self._seconds = seconds / len(job.messages)
        answers: list[Answer] = pickle.loads(packed)
        for message, answer in zip(job.messages, answers, strict=True):
            if answer.state is not None:
                self._keep(message.metadata.dst_node_id, answer.state)
            self._replies[message.metadata.message_id] = answer.reply

    def _lost(self, lane: _Lane, job: _Job, error: RayError) -> None:
        """An actor died: what it ran is tried once more, what waited behind it as if never sent."""
        ran = [one for one in job.messages if not self._is_retried(one)]
        self._fail([one for one in job.messages if one not in ran], error)
        self._retried.update(one.metadata.message_id for one in ran)
        waited = [message for later in lane.jobs for message in later.messages]
        for message in (*ran, *waited):
            self._sent.discard((lane.node, partition_of(message.metadata.dst_node_id)))
        self._waiting.extendleft(reversed([*ran, *waited]))
        lane.jobs.clear()
        ray.kill(lane.actor)
        self._replace(lane)

    def _fail(self, messages: Iterable[Message], error: RayError) -> None:
        for message in messages:
            reason = ray_start.explain(error)
            reply = Message(
                Error(code=ErrorCode.CLIENT_APP_CRASHED, reason=reason), reply_to=message
            )
            stamp(reply)
            self._replies[message.metadata.message_id] = reply


def _distinct(messages: Sequence[Message], contents: dict[int, int]) -> list[Message]:
    """One message for every content, in the order of their numbers."""
    by_content = {id(message.content): message for message in messages}
    return [by_content[one] for one in contents]
