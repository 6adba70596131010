"""The simulated clock between rounds: the time, and what is on its way."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError

from fedtiny.clock.buffered import Step
from fedtiny.clock.course import Course
from fedtiny.models.graph import Graph
from fedtiny.runs.fields import Count, complaint
from fedtiny.runs.tensors import Array, CheckpointError
from fedtiny.sparse.tensor import SparseError
from fedtiny.wire.models import model_arrays, read_model
from fedtiny.wire.packet import Packet, WireError

_PREFIX = "clock."

GraphOf = Callable[[int], Graph]
"""By partition, the part of the model that its device trains."""


@dataclass(frozen=True, slots=True, eq=False)
class Flight:
    """A task that was given out and has not ended yet, in an asynchronous run.

    Attributes:
        course: to its end, which lies ahead.
        step: what the device will send; None: it will send nothing.
    """

    course: Course
    step: Step | None


@dataclass(frozen=True, slots=True, eq=False)
class ClockState:
    """The clock after a round.

    Attributes:
        now_s: simulated time.
        tasks: given out so far, in an asynchronous run.
        flights: on their way, in an asynchronous run.
    """

    now_s: float = 0.0
    tasks: int = 0
    flights: tuple[Flight, ...] = field(default=())

    def arrays(self, graph: Graph) -> dict[str, Array]:
        """What is on its way, by name, for a checkpoint; ``graph`` is the whole model."""
        return {
            f"{_PREFIX}{number}.{name}": array
            for number, flight in enumerate(self.flights)
            if flight.step is not None
            for name, array in model_arrays(graph, flight.step.change).items()
        }

    def manifest(self) -> dict[str, Any]:
        """The rest, JSON-able."""
        return {
            "now_s": self.now_s,
            "tasks": self.tasks,
            "flights": [
                {
                    "course": asdict(flight.course),
                    "count": flight.step and flight.step.count,
                    "loss": flight.step and flight.step.loss,
                }
                for flight in self.flights
            ],
        }


@dataclass(frozen=True, slots=True)
class _Flight:
    course: Course
    count: Count | None
    loss: float | None


@dataclass(frozen=True, slots=True)
class _Clock:
    now_s: Annotated[float, Field(ge=0)]
    tasks: Count
    flights: tuple[_Flight, ...]


_CLOCK = TypeAdapter(_Clock)


def read_clock(
    path: Path,
    graph_of: GraphOf,
    arrays: Mapping[str, Array],
    manifest: object,
) -> ClockState:
    """The inverse of :meth:`ClockState.arrays` and :meth:`ClockState.manifest`.

    Args:
        path: of the checkpoint, for messages.
        graph_of: what a device trains.
        arrays: of the checkpoint.
        manifest: what it keeps of the clock.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        read = _CLOCK.validate_python(manifest)
    except ValidationError as error:
        raise CheckpointError(f"{path}: of its clock, {complaint(error):.200}") from error
    if not isfinite(read.now_s):
        raise CheckpointError(f"{path}: of its clock, now_s: {read.now_s}")
    flights = [
        Flight(one.course, _step(path, graph_of(one.course.partition), arrays, number, one))
        for number, one in enumerate(read.flights)
    ]
    return ClockState(read.now_s, read.tasks, tuple(flights))


def _step(
    path: Path,
    graph: Graph,
    arrays: Mapping[str, Array],
    number: int,
    flight: _Flight,
) -> Step | None:
    if flight.count is None or flight.loss is None:
        return None
    names = "masks", "values", "dense"
    try:
        packet = Packet({name: arrays[f"{_PREFIX}{number}.{name}"] for name in names})
        return Step(read_model(graph, packet), flight.count, flight.loss)
    except (KeyError, WireError, SparseError) as error:
        raise CheckpointError(f"{path}: of what was on its way, {error}") from error
