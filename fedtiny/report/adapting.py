"""What devices learned after the rounds, in a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fedtiny.config import RunConfig
from fedtiny.config.adapt import AdaptUse
from fedtiny.memory.ledger import format_bytes
from fedtiny.report.tables import markdown_table, percent
from fedtiny.report.words import GROUPS, group_title, person_title
from fedtiny.runs.adapt_events import Adapted, AdaptedTested
from fedtiny.runs.events import DeviceDescribed, Exchanged
from fedtiny.runs.metrics import Recording
from fedtiny.wire.phase import Phase


def adapting_summary(log: Recording, config: RunConfig) -> dict[str, Any] | None:
    """For report.json; None where nothing was learned after the rounds, or not to the end.

    Returns:
        ``use`` and ``method``; ``people``, each with group, who, count, correct_before and
        correct_after; ``devices``, each with the memory of its last lesson; ``only_adapt``, the
        partitions of those that can train no part of the model; ``asked``, devices in a lesson.
    """
    learned, use = log.of(Adapted), config.federation.adapt
    tests = [asdict(one) for one in log.of(AdaptedTested)]
    if use is AdaptUse.LOCAL:
        tests = [{**asdict(one), "group": "same_people", "who": one.partition} for one in learned]
    if not tests:
        return None
    return {
        "use": use.value,
        "method": config.adapt.method.value,
        "people": [{name: one[name] for name in _PERSON} for one in tests],
        "devices": [
            {name: getattr(one, name) for name in _DEVICE}
            for one in {one.partition: one for one in learned}.values()
        ],
        "only_adapt": sorted(
            {one.partition for one in log.of(DeviceDescribed) if one.refused}
            & {one.partition for one in learned}
        ),
        "asked": max(one.asked for one in log.of(Exchanged) if one.phase is Phase.ADAPT),
    }


_PERSON = ("group", "who", "count", "correct_before", "correct_after")
_DEVICE = ("partition", "micro_batch", "saved_bytes", "predicted_peak_bytes", "peak_bytes")


def accuracies(found: Mapping[str, Any], group: str) -> tuple[float, float] | None:
    """(before, after) of a group of people, over all their samples; None if it has none."""
    mine = [one for one in found["people"] if one["group"] == group and one["count"]]
    samples = sum(one["count"] for one in mine)
    if not samples:
        return None
    before, after = (
        sum(one[name] for one in mine) / samples for name in ("correct_before", "correct_after")
    )
    return before, after


def adapting_lines(found: Mapping[str, Any] | None, config: RunConfig) -> list[str]:
    """For the terminal: a line for each group of people."""
    if found is None:
        return []
    who = "each device alone" if found["use"] == AdaptUse.LOCAL.value else "all devices together"
    lines = []
    for group in GROUPS:
        if pair := accuracies(found, group):
            lines.append(
                f"adapted by {found['method']}, {who}: {group_title(config, group)}: "
                f"{percent(pair[0])} before, {percent(pair[1])} after"
            )
    return lines


def adapting_section(found: Mapping[str, Any], config: RunConfig) -> str:
    """For report.md."""
    rows = [
        [
            person_title(config, one["group"], one["who"]),
            f"{one['count']:,}",
            percent(one["correct_before"] / one["count"]),
            percent(one["correct_after"] / one["count"]),
        ]
        for one in found["people"]
        if one["count"]
    ]
    table = markdown_table(["person", "samples", "finished model", "adapted"], rows)
    parts = [_how(found, config), *_only(found), table, _memory(found)]
    return "\n\n".join(parts)


def _only(found: Mapping[str, Any]) -> list[str]:
    """Who takes part by adapting alone, if anybody does."""
    who = found["only_adapt"]
    if not who:
        return []
    names = ", ".join(f"client {k}" for k in who)
    return [f"Of these, {len(who)} can train no part of the model and took part so: {names}."]


def _how(found: Mapping[str, Any], config: RunConfig) -> str:
    adapt = config.adapt
    steps = f"{adapt.steps} steps of Adam on {adapt.batch_size} samples"
    if found["use"] == AdaptUse.LOCAL.value:
        return (
            f"After the last round {len(found['devices'])} of {found['asked']} devices learned of "
            f"their own training samples by `{found['method']}`, {steps}. What they learned stayed "
            "there; their test samples say what it is worth."
        )
    return (
        f"After the last round devices learned together by `{found['method']}`: {adapt.rounds} "
        f"rounds of {steps}. The finished model was sent once; what is trained, and only that, "
        "went up and down in every round and was averaged. The adapted model is in "
        f"`adapted/{found['method']}/model.safetensors`."
    )


def _memory(found: Mapping[str, Any]) -> str:
    devices = found["devices"]
    most = max(devices, key=lambda one: one["peak_bytes"])
    odd = sum(one["peak_bytes"] != one["predicted_peak_bytes"] for one in devices)
    together = sorted({one["micro_batch"] for one in devices})
    return (
        f"Memory of a step: {format_bytes(most['peak_bytes'])} at most, of which "
        f"{format_bytes(most['saved_bytes'])} saved for the backward pass, with "
        f"{' or '.join(map(str, together))} samples at a time. Measured peaks that differ "
        f"from the plan's: {odd} of {len(devices)}."
    )
