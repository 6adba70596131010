"""Parts of the model in a report: who trains which, and how good each is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from fedtiny.escaping.markdown import markdown_text
from fedtiny.memory.ledger import format_bytes
from fedtiny.report.tables import markdown_table, percent
from fedtiny.report.words import in_rounds
from fedtiny.runs.contest_events import PartCompared
from fedtiny.runs.events import (
    DeviceDescribed,
    Evaluated,
    Metered,
    TierEvaluated,
    TierGiven,
    TierMissing,
)
from fedtiny.runs.metrics import Recording
from fedtiny.tiers.tier import Tier


def tiers_summary(log: Recording) -> dict[str, Any] | None:
    """For report.json: None where all devices train the whole model.

    Accuracies are of the last round that was evaluated.
    """
    evaluated = log.of(TierEvaluated)
    devices = log.of(DeviceDescribed)
    if not evaluated and not any(one.tier or one.refused for one in devices):
        return None
    last = max((one.round for one in evaluated), default=0)
    own = [
        one.correct / one.count
        for one in log.of(Evaluated)
        if one.group == "same_people" and one.round == last and one.count
    ]
    events = [one for one in evaluated if one.round == last]
    compared = {one.tier: one for one in log.of(PartCompared) if one.round <= last}
    largest = max((one.tier for one in events if one.devices), default=None)
    chosen = next((tier for tier, one in compared.items() if one.chosen), largest)
    parts = [_part(one, log, compared.get(one.tier), one.tier == chosen) for one in events]
    trained = [part for part in parts if part["devices"]]
    return {
        "parts": parts,
        "history": [
            {
                "round": one.round,
                "width": one.tier.width,
                "density": one.tier.density,
                "devices": one.devices,
                "nnz": one.nnz,
                "accuracy": one.correct / one.count,
            }
            for one in evaluated
            if one.count
        ],
        "chosen": bool(compared),
        "global_accuracy": next((one["accuracy"] for one in parts if one["is_global"]), None),
        "mean_device_accuracy": fmean(own) if own else None,
        "worst_tier_accuracy": min((part["accuracy"] for part in trained), default=None),
        "passed_over": _passed_over(devices),
        "refused": [
            {"partition": one.partition, "reason": one.refused} for one in devices if one.refused
        ],
    }


def _passed_over(devices: Sequence[DeviceDescribed]) -> list[dict[str, Any]]:
    """By board and part: how many cannot train it, and why the first of them cannot."""
    reasons: dict[tuple[str, Tier], list[str]] = {}
    for one in devices:
        for passed in one.passed_over:
            board = one.ledger.device if one.ledger else ""
            reasons.setdefault((board, passed.tier), []).append(passed.reason)
    return [
        {
            "board": board,
            "width": tier.width,
            "density": tier.density,
            "devices": len(found),
            "reason": found[0],
        }
        for (board, tier), found in sorted(reasons.items())
    ]


def _part(
    event: TierEvaluated, log: Recording, compared: PartCompared | None, is_global: bool
) -> dict[str, Any]:
    given = {one.partition: one.tier for one in log.of(TierGiven)}
    described = {one.partition: one.ledger for one in log.of(DeviceDescribed)}
    holders = [k for k, tier in given.items() if tier == event.tier]
    boards = Counter(ledger.device for ledger in map(described.get, holders) if ledger)
    ledgers = [one.ledger for one in log.of(Metered) if given.get(one.partition) == event.tier]
    peaks = [(one.measured_peak_bytes, one.budget_bytes) for one in ledgers]
    measured = [(peak, budget) for peak, budget in peaks if peak is not None]
    peak, budget = max(measured, key=lambda pair: pair[0] / pair[1], default=(None, None))
    return {
        "width": event.tier.width,
        "density": event.tier.density,
        "devices": event.devices,
        "boards": dict(sorted(boards.items())),
        "nnz": event.nnz,
        "accuracy": event.correct / event.count if event.count else None,
        "is_global": is_global,
        "excess": [compared.excess, compared.error] if compared else None,
        "peak_bytes": peak,
        "budget_bytes": budget,
        "missing_rounds": [one.round for one in log.of(TierMissing) if one.tier == event.tier],
    }


def refused_devices(report: Mapping[str, Any]) -> int:
    """How many devices of a report's run could train no part of the model."""
    return len(report["tiers"]["refused"]) if report["tiers"] else 0


def tiers_section(found: Mapping[str, Any] | None) -> str:
    """For report.md; nothing where all devices train the whole model."""
    if found is None:
        return ""
    rows = [
        [
            f"{part['width']:g}" + (", global" if part["is_global"] else ""),
            f"{part['density']:.3g}",
            f"{part['nnz']:,}",
            ", ".join(f"{count} {board}" for board, count in part["boards"].items())
            or str(part["devices"] or "nobody"),
            percent(part["accuracy"]),
            _bytes(part["peak_bytes"]),
            _bytes(part["budget_bytes"]),
            in_rounds(part["missing_rounds"]),
        ]
        for part in found["parts"]
    ]
    headers = [
        "width",
        "density, at most",
        "weights",
        "trained by",
        "accuracy",
        "peak",
        "budget",
        "nobody counted in",
    ]
    refused = found["refused"]
    lines = [f"- client {one['partition']}: {markdown_text(one['reason'])}" for one in refused]
    passed = [
        f"- width {one['width']:g}, density {one['density']:.3g} ({one['devices']} "
        f"{markdown_text(one['board'])}): {markdown_text(one['reason'])}"
        for one in found["passed_over"]
    ]
    lists = {
        "Better parts that devices cannot train": passed,
        "Devices that can train no part": lines,
    }
    return "\n\n".join(
        [
            markdown_table(headers, rows),
            "Accuracy on all samples of people who took no part; *global* is the global model, and "
            f"nobody trained the last one. {_choice(found)}*Peak* was measured in a training step "
            "of the device that came nearest to its *budget*. Every device's own test samples "
            f"with its own part: {percent(found['mean_device_accuracy'])}, mean over devices.",
            *(f"{title}:\n\n" + "\n".join(those) for title, those in lists.items() if those),
        ]
    )


def _choice(found: Mapping[str, Any]) -> str:
    """How devices came to the global model; empty where it is the largest part."""
    if not found["chosen"]:
        return ""
    losses = ", ".join(
        f"{part['excess'][0]:.3f} ± {part['excess'][1]:.3f} (width {part['width']:g}, density "
        f"{part['density']:.3g})"
        for part in found["parts"]
        if part["excess"]
    )
    return (
        "Devices chose it by the loss on their development samples; above the best one's, with the "
        f"standard error over devices, in nats: {losses}. "
    )


def _bytes(size: int | None) -> str:
    return "" if size is None else format_bytes(size)
