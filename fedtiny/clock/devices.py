"""A run's devices on the simulated clock: whether a task begins, and when it ends.

A function of config, seed, FLOPs and wire bytes; nothing here reads a clock.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from fedtiny.clock.course import Course
from fedtiny.config import RunConfig
from fedtiny.devices.budget import memory_plan
from fedtiny.devices.fleet import profile_of
from fedtiny.devices.flops import round_flops
from fedtiny.devices.planner import BudgetError
from fedtiny.devices.profile import DeviceProfile
from fedtiny.devices.seconds import compute_seconds, link_of, round_seconds
from fedtiny.fleet.availability import Availability
from fedtiny.fleet.group import seats
from fedtiny.fleet.link import Link
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.runs.outcome import Outcome
from fedtiny.wire.train import TrainTask


@dataclass(frozen=True, slots=True)
class TimedDevice:
    """One device.

    Attributes:
        group: name of its group.
        profile: its board.
        link, availability: its own.
    """

    group: str
    profile: DeviceProfile
    link: Link
    availability: Availability


def timed_device(config: RunConfig, partition: int) -> TimedDevice:
    """The device that holds ``partition``.

    Raises:
        PriceError: it has no link, or its board states no sustained rate.
        FedTinyError: no such board.
    """
    seat = seats(config.devices.groups)[partition]
    profile = profile_of(config, partition, seat.group.device)
    link = link_of(seat, config.seed)
    compute_seconds(profile, 1.0)  # refused before anything runs, not in the first round
    return TimedDevice(seat.group.name, profile, link, seat.availability(config.seed))


def check_timed(config: RunConfig) -> None:
    """See before a run that everything has a price; raises as :func:`timed_device`."""
    if config.clock.is_on:
        known = set()
        for seat in seats(config.devices.groups):
            if seat.group.name not in known:
                known.add(seat.group.name)
                timed_device(config, seat.partition)


class TimedDevices:
    """The devices of one run.

    Args:
        config: of the run.
    """

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._devices: dict[int, TimedDevice] = {}
        self._steps: dict[tuple[str, int | None], StepPlan] = {}
        self._planned_for: TrainTask | None = None

    def device(self, partition: int) -> TimedDevice:
        """That holds ``partition``; raises as :func:`timed_device`."""
        if partition not in self._devices:
            self._devices[partition] = timed_device(self._config, partition)
        return self._devices[partition]

    def start(self, partition: int, number: int, version: int, at_s: float) -> Course:
        """A task that is given out, nothing of it done yet.

        Its outcome is that the device is away, never begins, or is lost in the middle, each known
        from the start in a simulation; else it counts, unless it turns out to be late.
        """
        availability = self.device(partition).availability
        outcome = Outcome.COUNTED
        if not availability.there.at(at_s):
            outcome = Outcome.AWAY
        elif not availability.begins(number):
            outcome = Outcome.DROPPED
        elif availability.breaks_at(number) is not None:
            outcome = Outcome.BROKE
        return Course(partition, number, version, at_s, outcome=outcome)

    def run(
        self,
        begun: Course,
        graph: Graph,
        task: TrainTask,
        samples: int,
        down_bytes: int,
        up_bytes: int,
    ) -> Course:
        """A task as far as it goes.

        Args:
            begun: of :meth:`start`.
            graph: the part of the model that the task is about.
            task: what is asked.
            samples: that the device trains on.
            down_bytes, up_bytes: on the wire; what of the reply is not known yet counts as 0, and
                the course ends no later than it will with it.
        """
        if begun.outcome in (Outcome.AWAY, Outcome.DROPPED, Outcome.FAILED):
            return begun
        device = self.device(begun.partition)
        present = {name: weight.nnz for name, weight in task.model.weights.items()}
        step = self._step(graph, task, begun)
        flops = round_flops(self._config, graph, present, samples, step, task.quotas)
        took = round_seconds(
            device.profile, device.link, flops, down_bytes, up_bytes, begun.started_s, begun.number
        )
        done = replace(
            begun,
            down_s=took.down,
            compute_s=took.compute,
            up_s=took.up,
            down_bytes=down_bytes,
            up_bytes=up_bytes,
        )
        if begun.outcome is Outcome.BROKE:
            share = device.availability.breaks_at(begun.number) or 0.0
            done = replace(done, compute_s=share * took.compute, up_s=0.0, up_bytes=0)
        gone_s = device.availability.there.next_zero(begun.started_s)
        return done if done.ended_s <= gone_s else _cut(done, gone_s)

    def next_there(self, partition: int, at_s: float) -> float:
        """The first time ≥ ``at_s`` at which the device is there; ``inf``: never."""
        return self.device(partition).availability.there.next_above_zero(at_s)

    def _step(self, graph: Graph, task: TrainTask, begun: Course) -> StepPlan:
        """How the device goes through one step; the same for all that are alike."""
        if task is not self._planned_for:
            self._steps.clear()
            self._planned_for = task
        devices = self._config.devices
        group = self.device(begun.partition).group
        key = group, devices.budget_bytes.get(begun.partition)
        if key not in self._steps:
            self._steps[key] = self._plan(graph, task, begun.partition)
        return self._steps[key]

    def _plan(self, graph: Graph, task: TrainTask, partition: int) -> StepPlan:
        board = self._config.devices.board(partition)
        masks, quotas = task.model.masks, task.quotas
        try:
            plan = memory_plan(self._config, graph, partition, board, masks, quotas)
        except BudgetError:
            plan = None  # the device refuses the task itself, and the exchange counts it
        return plan.step if plan else StepPlan(self._config.training.batch_size)


def _cut(done: Course, gone_s: float) -> Course:
    """A course whose device goes away at ``gone_s``, before its end."""
    left = gone_s - done.started_s
    parts = []
    for part in (done.down_s, done.compute_s, done.up_s):
        parts.append(min(part, left))
        left -= parts[-1]
    down, compute, up = parts
    return replace(done, down_s=down, compute_s=compute, up_s=up, up_bytes=0, outcome=Outcome.LEFT)
