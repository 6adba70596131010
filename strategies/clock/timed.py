"""What both kinds of simulated time share: prices, and what is told of a round."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property

from fedtiny.clock.course import Course
from fedtiny.clock.devices import TimedDevices
from fedtiny.clock.state import ClockState
from fedtiny.federation.described import most_samples
from fedtiny.federation.state import ServerState
from fedtiny.runs.clock_events import ClockAdvanced, GroupMissing, RoundLost, TaskTimed
from fedtiny.runs.outcome import Outcome
from fedtiny.wire.phase import Phase
from strategies.server import Server


class TimedServer(Server):
    """A server whose rounds happen on a simulated clock, which no other clock has a say in."""

    @cached_property
    def devices(self) -> TimedDevices:
        """The run's, with their links and rates."""
        return TimedDevices(self.config)

    def samples(self, partition: int) -> int:
        """That a device trains on, as it said."""
        described, factor = self.introductions.described, self.config.trust.samples_factor
        return max(1, most_samples(described, factor, Phase.TRAIN, partition))

    def tell_clock(
        self, round: int, started_s: float, ended_s: float, courses: Sequence[Course]
    ) -> None:
        """What the round's tasks came to, and which groups have nobody in it."""
        for one in courses:
            self.observer.on_event(self._timed(round, one))
        for group, asked in _missing(courses, self.devices).items():
            self.observer.on_event(GroupMissing(round, group, asked))
        outcomes = Counter(one.outcome for one in courses)
        by_outcome = {outcome: outcomes[outcome] for outcome in Outcome if outcomes[outcome]}
        self.observer.on_event(ClockAdvanced(round, started_s, ended_s, by_outcome))

    def lose(self, state: ServerState, round: int, clock: ClockState, asked: int) -> ServerState:
        """A round that nobody counts in: the model stays, and is evaluated if it is due."""
        self.observer.on_event(RoundLost(round, asked))
        if self.evaluation.due(round):
            state = self.choosing.run(round, state)
            self.evaluation.ask(round, state)
        return replace(state, round=round, clock=clock)

    def _timed(self, round: int, one: Course) -> TaskTimed:
        return TaskTimed(
            round,
            partition=one.partition,
            group=self.devices.device(one.partition).group,
            outcome=one.outcome,
            version=one.version,
            started_s=one.started_s,
            down_s=one.down_s,
            compute_s=one.compute_s,
            up_s=one.up_s,
            down_bytes=one.down_bytes,
            up_bytes=one.up_bytes,
        )


def _missing(courses: Iterable[Course], devices: TimedDevices) -> dict[str, int]:
    """Groups of which somebody was asked and nobody counts, with how many were asked."""
    asked: Counter[str] = Counter()
    counted: set[str] = set()
    for one in courses:
        group = devices.device(one.partition).group
        asked[group] += 1
        if one.outcome is Outcome.COUNTED:
            counted.add(group)
    return {group: number for group, number in asked.items() if group not in counted}
