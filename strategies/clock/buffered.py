"""Buffered asynchronous rounds (FedBuff): a version whenever enough replies have arrived."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from math import inf

from typing_extensions import override

from fedtiny.clock.buffered import Step, rebased, step_of
from fedtiny.clock.course import Course
from fedtiny.clock.heap import Due, EventHeap
from fedtiny.clock.state import ClockState, Flight
from fedtiny.errors import FedTinyError
from fedtiny.federation.state import ServerState
from fedtiny.runs.events import Metered
from fedtiny.runs.outcome import Outcome
from fedtiny.seeding import rng
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult
from strategies.clock.timed import TimedServer
from strategies.server import Round


class NobodyComesError(FedTinyError):
    """Everybody is away for good; the message says since when."""


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A task that was given out and is not computed yet.

    Attributes:
        begun: its course, nothing done.
        down_bytes: of it on the wire.
        soonest_s: before which nothing will be heard of it.
    """

    begun: Course
    down_bytes: int
    soonest_s: float


@dataclass(eq=False)
class _Version:
    """A version that is being made.

    Attributes:
        current: the round, with what devices are given now.
        now_s: simulated time.
        tasks: given out so far in the run.
        heap: what is on its way.
        waiting: given out, but not computed yet.
        buffer: steps that have arrived, by partition.
        ended: tasks that ended since the last version.
        lost: tasks that ended in a row without an arrival.
    """

    current: Round
    now_s: float
    tasks: int
    heap: EventHeap[Flight]
    waiting: dict[int, _Waiting] = field(default_factory=dict)
    buffer: dict[int, Flight] = field(default_factory=dict)
    ended: list[Course] = field(default_factory=list)
    lost: int = 0

    def busy(self) -> set[int]:
        """Partitions that are not given a task now."""
        flying = {due.partition for due in self.heap.left()}
        return {*flying, *self.waiting, *self.buffer}


class BufferedServer(TimedServer):
    """A server that never waits for anybody in particular.

    ``clock.concurrency`` tasks are on their way at a time. As soon as one has ended another is
    given out, of the version there is then, to a device drawn among those that are free and there.
    ``clock.buffer`` replies make the next version; one whose reply waits in the buffer is not asked
    again before. What is computed together changes nothing: a task is computed before the first
    event at which it could have ended, and before the next version is made.
    """

    @override
    def play(self, state: ServerState, round: int) -> ServerState:
        """One version."""
        clock = state.clock or ClockState()
        version = _Version(self.begin(state, round, ()), clock.now_s, clock.tasks, EventHeap())
        for flight in clock.flights:
            version.heap.put(self._due(flight))
        while len(version.buffer) < self.config.clock.buffer:
            self._give_out(version)
            self._compute(version)
            if version.lost >= self._patience:
                break
            self._next(version)
        self._compute(version, everything=True)
        return self._conclude(version, clock.now_s)

    @property
    def _patience(self) -> int:
        """Tasks lost in a row after which a version is made of what there is."""
        return self.config.data.partitions + self.config.clock.concurrency

    def _give_out(self, version: _Version) -> None:
        """Tasks to devices that are free and there, until enough are on their way."""
        wanted = self.config.clock.concurrency - len(version.heap) - len(version.waiting)
        begun: dict[int, Course] = {}
        for _ in range(wanted):
            busy = version.busy() | begun.keys()
            free = [k for k in self.federation.asked(self.exchange.offences) if k not in busy]
            order = rng(self.config.seed, "buffered", version.tasks).permutation(len(free))
            there = (free[i] for i in order if self._is_there(free[i], version.now_s))
            if (drawn := next(there, None)) is None:
                break
            number, version.tasks = version.tasks, version.tasks + 1
            round = version.current.task.round
            begun[drawn] = self.devices.start(drawn, number, round, version.now_s)
        if not begun:
            return
        current = self._of(version, begun)
        packets = current.task.packets()
        down = self.exchange.sizes(Phase.TRAIN, current.task.round, packets)
        for k, one in begun.items():
            soonest_s = self._due(Flight(self._run(one, current, down[k], 0), None)).second
            version.waiting[k] = _Waiting(one, down[k], soonest_s)

    def _is_there(self, partition: int, at_s: float) -> bool:
        return self.devices.next_there(partition, at_s) <= at_s

    def _compute(self, version: _Version, everything: bool = False) -> None:
        """Have devices compute, all at once, as soon as one of them could be the next to end.

        Args:
            version: that is being made.
            everything: do not wait for that.
        """
        waiting = version.waiting
        soonest_s = min((one.soonest_s for one in waiting.values()), default=inf)
        another = len(version.heap) and version.heap.next_second() < soonest_s
        if not waiting or (another and not everything):
            return
        current = self._of(version, waiting)
        going = {k for k, one in waiting.items() if one.begun.outcome is Outcome.COUNTED}
        up: dict[int, int] = {}
        steps = self._steps(current, going, up)
        for k, one in waiting.items():
            failed = k in going and k not in steps
            begun = replace(one.begun, outcome=Outcome.FAILED) if failed else one.begun
            course = self._run(begun, current, one.down_bytes, up.get(k, 0))
            step = steps.get(k) if course.outcome is Outcome.COUNTED else None
            version.heap.put(self._due(Flight(course, step)))
        waiting.clear()

    def _steps(self, current: Round, going: Collection[int], up: dict[int, int]) -> dict[int, Step]:
        """What devices do to the version they are given; ``up`` gets the bytes of their replies."""
        if not going:
            return {}
        round, packets = current.task.round, current.task.packets()
        asked = {k: packet for k, packet in packets.items() if k in going}
        results = self.exchange.ask(Phase.TRAIN, round, asked, self.reader(current), heard=up)
        for k, result in results.items():
            if result.ledger is not None:
                self.observer.on_event(Metered(round, k, result.ledger))
        tasks = current.task.tasks
        return {k: step_of(self.graph, tasks[k].model, one) for k, one in results.items()}

    def _of(self, version: _Version, asked: Collection[int]) -> Round:
        """The version's round, of these partitions."""
        current = version.current
        begun = self.begin(current.before, current.task.round, asked)
        return replace(begun, started=current.started)

    def _run(self, begun: Course, current: Round, down_bytes: int, up_bytes: int) -> Course:
        task, samples = current.task.tasks[begun.partition], self.samples(begun.partition)
        graph = current.task.blocks[begun.partition].graph
        course = self.devices.run(begun, graph, task, samples, down_bytes, up_bytes)
        if course.outcome is Outcome.COUNTED and course.ended_s > self._limit(begun):
            course = replace(course, outcome=Outcome.LATE)
        return course

    def _limit(self, begun: Course) -> float:
        """When the server gives a task up."""
        deadline_s = self.config.clock.deadline_s
        return begun.started_s + deadline_s if deadline_s else inf

    def _due(self, flight: Flight) -> Due[Flight]:
        """When the server hears of a task's end, or has waited long enough for it."""
        one = flight.course
        known = one.outcome in (Outcome.COUNTED, Outcome.FAILED)
        return Due(one.ended_s if known else self._limit(one), one.partition, one.number, flight)

    def _next(self, version: _Version) -> None:
        """The next thing that happens."""
        if not len(version.heap):
            version.now_s = self._somebody_comes(version)
            return
        due = version.heap.take()
        version.now_s = max(version.now_s, due.second)
        version.ended.append(due.what.course)
        if due.what.step is None:
            version.lost += 1
        else:
            version.lost = 0
            version.buffer[due.partition] = due.what

    def _somebody_comes(self, version: _Version) -> float:
        free = [k for k in self.federation.asked(self.exchange.offences) if k not in version.buffer]
        soonest = min((self.devices.next_there(k, version.now_s) for k in free), default=inf)
        if soonest == inf:
            raise NobodyComesError(
                f"round {version.current.task.round}: at {version.now_s:.0f} simulated seconds "
                "nobody is on its way, and nobody who is away comes back; lengthen the fleet's "
                "availability traces, or give them a period_s"
            )
        return soonest

    def _conclude(self, version: _Version, started_s: float) -> ServerState:
        """The next version, of the steps in the buffer."""
        before, round = version.current.before, version.current.task.round
        flights = tuple(due.what for due in version.heap.left())
        clock = ClockState(version.now_s, version.tasks, flights)
        self.tell_clock(round, started_s, version.now_s, version.ended)
        if not version.buffer:
            return self.lose(before, round, clock, len(version.ended))
        rate = self.config.clock.server_rate
        arrived = {k: one for k, one in sorted(version.buffer.items()) if one.step is not None}
        current, results = self._of(version, arrived), dict[int, TrainResult]()
        for k, flight in arrived.items():
            part, stale = current.task.tasks[k].model, round - flight.course.version
            assert flight.step is not None
            results[k] = rebased(self.graph, part, flight.step, stale, rate)
        after = self.conclude(current, results)
        return replace(after, clock=clock)
