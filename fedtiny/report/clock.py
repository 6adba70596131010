"""A run's simulated time: what report and plots read of it, and what they say in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from fedtiny.config import RunConfig
from fedtiny.devices.catalog import get
from fedtiny.devices.fleet import with_group
from fedtiny.report.tables import markdown_table, size
from fedtiny.report.words import in_rounds
from fedtiny.runs.clock_events import ClockAdvanced, GroupMissing, RoundLost, TaskTimed
from fedtiny.runs.metrics import Recording
from fedtiny.runs.outcome import Outcome


@dataclass(frozen=True, eq=False)
class Clock:
    """What happened on the simulated clock; no time of it was measured.

    Attributes:
        tasks: one row for each: the fields of :class:`TaskTimed`, and ``ended_s``.
        rounds: round, started_s, ended_s.
        missing: rounds in which nobody of a group counted.
        lost: rounds in which nobody counted.
    """

    tasks: pd.DataFrame
    rounds: pd.DataFrame
    missing: Sequence[GroupMissing]
    lost: Sequence[RoundLost]

    @property
    def seconds(self) -> float:
        """Simulated, until the last round's end."""
        return float(self.rounds["ended_s"].iloc[-1])


def read_clock(log: Recording) -> Clock | None:
    """The simulated clock of a run's events; None if it has none."""
    rounds = log.of(ClockAdvanced)
    if not rounds:
        return None
    tasks = pd.DataFrame([asdict(one) for one in log.of(TaskTimed)])
    parts = ["started_s", "down_s", "compute_s", "up_s"]
    return Clock(
        tasks.assign(ended_s=tasks[parts].sum(axis=1)),
        pd.DataFrame([(one.round, one.started_s, one.ended_s) for one in rounds],
                     columns=["round", "started_s", "ended_s"]),
        log.of(GroupMissing),
        log.of(RoundLost),
    )  # fmt: skip


def clock_summary(clock: Clock | None, config: RunConfig) -> dict[str, Any] | None:
    """For report.json: everything simulated, and what it rests on; None without a clock."""
    if clock is None:
        return None
    return {
        "simulated": True,
        "mode": config.clock.mode,
        "simulated_seconds": clock.seconds,
        "outcomes": _outcomes(clock.tasks),
        "lost_rounds": [one.round for one in clock.lost],
        "groups": [_group(clock, config, number) for number in range(len(config.devices.groups))],
    }


def _group(clock: Clock, config: RunConfig, number: int) -> dict[str, Any]:
    group = config.devices.groups[number]
    profile = with_group(get(group.device, config.devices.catalog), group)
    own = clock.tasks[clock.tasks["group"] == group.name]
    counted = own[own["outcome"] == Outcome.COUNTED]
    means = {
        f"mean_{part}": None if counted.empty else float(counted[part].mean())
        for part in ("down_s", "compute_s", "up_s")
    }
    return {
        "group": group.name,
        "device": profile.name,
        "count": group.size,
        "sustained_flops": profile.sustained_flops,
        "sustained_source": profile.sources.get("sustained", ""),
        "outcomes": _outcomes(own),
        **means,
        "down_bytes": int(own["down_bytes"].sum()),
        "up_bytes": int(own["up_bytes"].sum()),
        "missing_rounds": [one.round for one in clock.missing if one.group == group.name],
    }


def _outcomes(tasks: pd.DataFrame) -> dict[str, int]:
    counts = Counter(tasks["outcome"])
    return {outcome.value: counts[outcome] for outcome in Outcome if counts[outcome]}


def clock_section(found: Mapping[str, Any] | None) -> str:
    """For report.md; nothing without a clock."""
    if found is None:
        return ""
    groups = found["groups"]
    kinds = [one.value for one in Outcome if one.value in found["outcomes"]]
    outcomes = markdown_table(
        ["group", "devices", *kinds, "nobody counted in"],
        [
            [
                row["group"],
                f"{row['count']} {row['device']}",
                *(str(row["outcomes"].get(kind, 0)) for kind in kinds),
                in_rounds(row["missing_rounds"]),
            ]
            for row in groups
        ],
    )
    times = markdown_table(
        ["group", "receives", "trains", "sends", "received", "sent", "sustained rate"],
        [
            [
                row["group"],
                *(_seconds(row[f"mean_{part}"]) for part in ("down_s", "compute_s", "up_s")),
                *(size(row[f"{direction}_bytes"]) for direction in ("down", "up")),
                f"{row['sustained_flops'] / 1e6:g} MFLOP/s: {row['sustained_source']}",
            ]
            for row in groups
        ],
    )
    lost = found["lost_rounds"]
    return "\n\n".join(
        [
            f"{_seconds(found['simulated_seconds'])} of *simulated* time ({found['mode']}), from "
            "the first task until the last round's end. Nothing here was timed: training takes the "
            "FLOPs that are executed over the board's stated rate, a message its bytes on the wire "
            "over the link of the fleet's file. Preparation, evaluation and calibration take none.",
            *(
                [f"**Nobody counted in {in_rounds(lost)}**: the model stayed as it was."]
                * bool(lost)
            ),
            outcomes,
            "Tasks by how they ended: *late* replies were dropped; devices were *away*, *dropped* "
            "out before they began, *broke* down in the middle, or *left* before they answered.",
            times,
            "Simulated seconds of tasks that counted, their mean; bytes of all tasks. A rate that "
            'begins with "assumed" was measured by nobody.',
        ]
    )


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.3g} s" if seconds < 1000 else f"{seconds:,.0f} s"
