"""One round on the simulated clock: who received, trained, sent, waited, and who was late."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes

from fedtiny.escaping.plot import broken
from fedtiny.report.clock import Clock
from fedtiny.report.plots.style import PALETTE, REFERENCE, Chart, legend_below, panels
from fedtiny.runs.outcome import Outcome

_MOST_TASKS = 48
_PARTS = (
    ("down_s", "receives", PALETTE[5]),
    ("compute_s", "trains", PALETTE[0]),
    ("up_s", "sends", PALETTE[2]),
)
_WAITS = "#dddddd"
_BAD = PALETTE[1]


def round_gantt(clock: Clock) -> Chart:
    """A row for each task that ended in the round in which most different things happened."""
    number = _eventful(clock)
    span = clock.rounds[clock.rounds["round"] == number].iloc[0]
    own = clock.tasks[clock.tasks["round"] == number].sort_values(["partition", "started_s"])
    tasks = own.head(_MOST_TASKS).reset_index(drop=True)
    figure, (axes,) = panels(1, 1, 8.0, 1.5 + 0.24 * len(tasks))
    for row, task in enumerate(tasks.itertuples()):
        _bars(axes, row, task, float(span["ended_s"]))
    axes.axvline(span["ended_s"], color=REFERENCE, linestyle="--", label="the round is over")
    if tasks["started_s"].min() < span["started_s"]:
        axes.axvline(span["started_s"], color=REFERENCE, linestyle=":", label="the one before is")
    titles = [broken(f"{task.partition}: {task.group}") for task in tasks.itertuples()]
    axes.set_yticks(range(len(tasks)), titles)
    axes.set_ylim(len(tasks) - 0.4, -0.6)
    right = max(float(span["ended_s"]), float(tasks["ended_s"].max()))
    left = float(tasks["started_s"].min())
    room = 0.02 * (right - left)
    axes.set_xlim(left - room, right + 5 * room)
    axes.set_xlabel("simulated time (s)")
    legend_below(figure, [axes])
    caption = (
        f"Round {number} in simulated time: what each device was doing. A reply that is not late "
        "waits for the round's end; of devices that are away nothing is asked."
    )
    if len(own) > len(tasks):
        caption += f" The first {len(tasks)} of {len(own)} tasks are shown."
    return Chart("round_gantt", caption, figure, own)


def _eventful(clock: Clock) -> int:
    """The round with most kinds of outcome; of equals one with late replies, then the latest."""
    rounds = clock.tasks.groupby("round")["outcome"]
    return max(
        (outcomes.nunique(), (outcomes == Outcome.LATE).any(), int(str(round)))
        for round, outcomes in rounds
    )[2]


def _bars(axes: Axes, row: int, task: pd.Series, over_s: float) -> None:
    at = task.started_s
    for part, label, color in _PARTS:
        width = getattr(task, part)
        if width:
            axes.barh(row, width, left=at, height=0.66, color=color, label=label)
            at += width
    if task.outcome == Outcome.COUNTED:
        if over_s > at:
            axes.barh(row, over_s - at, left=at, height=0.66, color=_WAITS, label="waits")
        return
    axes.plot(at, row, marker="X", color=_BAD, linestyle="", label="does not count", zorder=3)
    axes.annotate(
        task.outcome.value, (at, row), xytext=(6, 0), textcoords="offset points", va="center",
        fontsize=8, color=_BAD,
    )  # fmt: skip
