"""The few lines a run ends with in the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fedtiny.config import RunConfig
from fedtiny.methods import METHODS
from fedtiny.report.adapting import adapting_lines
from fedtiny.report.tables import against, percent, size
from fedtiny.report.tiers import refused_devices
from fedtiny.report.words import GROUPS, group_title


def headline(report: Mapping[str, Any]) -> list[str]:
    """What a report says, in a few lines of plain text."""
    lines = [_density(report), *_accuracy(report), *_adapting(report), _uplink(report)]
    return [*lines, *_refused(report), *_simulated(report), *_memory(report), *_firmware(report)]


def _density(report: Mapping[str, Any]) -> str:
    return (
        f"{percent(report['density'])} of the prunable weights are left "
        f"({percent(report['density_all'])} of all {report['model']['parameters']:,} parameters)"
    )


def _accuracy(report: Mapping[str, Any]) -> list[str]:
    config = RunConfig.model_validate(report["config"])
    lines = []
    for group in GROUPS:
        kinds = {
            "float": report["accuracy"]["float"][group],
            "int8": report["accuracy"]["int8"][group],
            "dense": report["dense_reference"][group],
        }
        known = [f"{kind} {percent(value)}" for kind, value in kinds.items() if value is not None]
        if known:
            lines.append(f"{group_title(config, group)}: {', '.join(known)}")
    return lines


def _adapting(report: Mapping[str, Any]) -> list[str]:
    return adapting_lines(report["adapting"], RunConfig.model_validate(report["config"]))


def _uplink(report: Mapping[str, Any]) -> str:
    up = report["bytes"]["up"]
    text = f"uplink {size(up['wire'])} on the wire"
    if METHODS[report["method"]].dense_model:
        return text
    return f"{text}, {against(up['wire'], up['dense_equivalent'])} for the dense model"


def _refused(report: Mapping[str, Any]) -> list[str]:
    unable, partitions = refused_devices(report), report["config"]["data"]["partitions"]
    if not unable:
        return []
    return [
        f"{unable} of {partitions} devices could train no part of the model; the report says why"
    ]


def _simulated(report: Mapping[str, Any]) -> list[str]:
    clock = report["clock"]
    if clock is None:
        return []
    ends = ", ".join(f"{count} {outcome}" for outcome, count in clock["outcomes"].items())
    lost = f"; nobody counted in {len(clock['lost_rounds'])} rounds" if clock["lost_rounds"] else ""
    return [f"simulated time: {clock['simulated_seconds']:,.1f} s; tasks: {ends}{lost}"]


def _memory(report: Mapping[str, Any]) -> list[str]:
    ledger = report["ledger"]
    if not ledger:
        return []
    smaller = sum(row["micro_batch"] < row["batch"] for row in ledger)
    text = f"memory: {smaller} of {len(ledger)} devices needed micro-batches"
    if again := sum(bool(row["recompute"]) for row in ledger):
        text += f", {again} to recompute"
    errors = [
        abs(row["predicted_peak_bytes"] / row["measured_peak_bytes"] - 1)
        for row in ledger
        if row["measured_peak_bytes"]
    ]
    return [text + (f"; peak predicted within {percent(max(errors))}" if errors else "")]


def _firmware(report: Mapping[str, Any]) -> list[str]:
    found = report["firmware"]
    if found["flash_bytes"] is None:
        return []
    text = f"int8 C: {size(found['flash_bytes'])} flash, {size(found['arena_bytes'])} RAM"
    if found["mismatches"] is None:
        return [text + ", not checked"]
    return [f"{text}, {found['vectors']:,} vectors, {found['mismatches']:,} mismatches"]
