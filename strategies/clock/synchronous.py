"""Rounds that wait for their devices on the simulated clock."""

from __future__ import annotations

from dataclasses import replace

from typing_extensions import override

from fedtiny.clock.course import Course
from fedtiny.clock.state import ClockState
from fedtiny.clock.synchronous import settle
from fedtiny.federation.state import ServerState
from fedtiny.runs.outcome import Outcome
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult
from strategies.clock.timed import TimedServer
from strategies.server import Round


class SynchronousServer(TimedServer):
    """A server that waits for all, for ``federation.clients_per_round`` or until the deadline.

    Devices that are away, never begin or are lost in the middle are known from the start, and
    nobody computes for them; those that turn out to be late have been computed, and are dropped.
    """

    @override
    def play(self, state: ServerState, round: int) -> ServerState:
        """One round."""
        started_s = state.clock.now_s if state.clock else 0.0
        current = self.begin(state, round)
        results, courses = self._ask(current, started_s)
        deadline_s, enough = self.config.clock.deadline_s, self.config.federation.enough
        settled = settle(courses, started_s, deadline_s, enough)
        self.tell_clock(round, started_s, settled.ended_s, settled.courses)
        clock = ClockState(settled.ended_s)
        if not settled.counted:
            return self.lose(current.before, round, clock, len(courses))
        after = self.conclude(current, {k: results[k] for k in settled.counted})
        return replace(after, clock=clock)

    def _ask(self, current: Round, started_s: float) -> tuple[dict[int, TrainResult], list[Course]]:
        """The replies of all that would have answered at some time, and everybody's course."""
        round, tasks = current.task.round, current.task.tasks
        begun = [self.devices.start(k, round, round, started_s) for k in tasks]
        going = {one.partition for one in begun if one.outcome is Outcome.COUNTED}
        packets = current.task.packets()
        down = self.exchange.sizes(Phase.TRAIN, round, packets)
        up: dict[int, int] = {}
        results: dict[int, TrainResult] = {}
        if going:
            asked = {k: packet for k, packet in packets.items() if k in going}
            results = self.exchange.ask(Phase.TRAIN, round, asked, self.reader(current), heard=up)
        failed = going - results.keys()
        begun = [
            replace(one, outcome=Outcome.FAILED) if one.partition in failed else one
            for one in begun
        ]
        courses = [
            self.devices.run(
                one,
                current.task.blocks[one.partition].graph,
                tasks[one.partition],
                self.samples(one.partition),
                down[one.partition],
                up.get(one.partition, 0),
            )
            for one in begun
        ]
        return results, courses
