"""The tables of report.md, one function a section; each takes the report and gives Markdown."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from fedtiny.config import RunConfig
from fedtiny.escaping.markdown import Markdown, markdown_block, markdown_code, markdown_text
from fedtiny.escaping.terminal import visible
from fedtiny.report.ledger_table import MOST_ROWS, ledger_table
from fedtiny.report.tables import (
    NOT_RUN,
    markdown_table,
    percent,
    points,
    size,
    subtract,
    times,
)
from fedtiny.report.words import (
    DEPARTURES,
    GROUPS,
    group_title,
    person_title,
)
from fedtiny.wire.measured import THROTTLED
from fedtiny.wire.phase import Phase

Report = Mapping[str, Any]

_SHOWN_FAILURES = 50


def accuracy(report: Report, config: RunConfig) -> str:
    """Float, int8 and dense, by group, with differences in points."""
    rows = []
    for group in GROUPS:
        exact, int8 = (report["accuracy"][kind][group] for kind in ("float", "int8"))
        dense = report["dense_reference"][group]
        numbers = [percent(exact), percent(int8), percent(dense)]
        gaps = [points(subtract(exact, dense)), points(subtract(int8, exact))]
        rows.append([group_title(config, group), *numbers, *gaps])
    headers = ["test samples", "float", "int8", "dense reference", "float − dense", "int8 − float"]
    return (
        markdown_table(headers, rows)
        + f"\n\nAfter round {report['rounds']}, over all samples of the group; differences in "
        "percentage points. The dense reference is the same federation without pruning."
    )


def people(report: Report, config: RunConfig) -> str:
    """One row per person."""
    rows = [
        [
            person_title(config, person["group"], person["who"]),
            f"{person['count']:,}",
            percent(person["accuracy"]),
            percent(person["dense_accuracy"]),
        ]
        for person in report["people"]
    ]
    return markdown_table(["who", "samples", "accuracy", "dense reference"], rows)


def traffic(report: Report) -> str:
    """Totals against the dense equivalent, then bytes by phase."""
    totals = []
    for direction, one in report["bytes"].items():
        sums = [size(one[key]) for key in ("payload", "wire", "dense_equivalent")]
        measured = size(one["dense_reference_wire"])
        totals.append([f"{direction}link", *sums, times(one["ratio"]), measured])
    headers = ["", "payload", "wire", "dense equivalent", "equivalent / wire", "dense run, wire"]
    return "\n\n".join(
        [
            markdown_table(headers, totals),
            "All phases of the whole run, all devices. *Payload* is the length of our encodings, "
            "*wire* that of the messages Flower sends. The *dense equivalent* is participants × "
            "rounds × 4 B × (parameters + batch-norm statistics).",
            _phases(report),
        ]
    )


def _phases(report: Report) -> str:
    found = {(row["phase"], row["direction"]): row for row in report["phases"]}
    rows = []
    for phase in dict.fromkeys(row["phase"] for row in report["phases"]):
        up, down = found[phase, "up"], found[phase, "down"]
        sizes = [size(one[key]) for one in (up, down) for key in ("payload", "wire")]
        rows.append([Phase(phase).label, f"{up['messages']:,}", *sizes])
    headers = ["phase", "replies", "up, payload", "up, wire", "down, payload", "down, wire"]
    return markdown_table(headers, rows)


def failures(report: Report) -> str:
    """Every client that did not answer as it should, or whose reply was left out."""
    rows = [
        [str(row["round"]), Phase(row["phase"]).label, f"client {row['partition']}", row["reason"]]
        for row in report["failures"][:_SHOWN_FAILURES]
    ]
    text = markdown_table(["round", "phase", "who", "why"], rows)
    more = len(report["failures"]) - len(rows)
    return text + (f"\n\n{more:,} more are in `report.json`." if more > 0 else "")


def departures(report: Report) -> str:
    """Everything devices sent, in words; a kind nobody described is not vouched for."""
    rows = []
    for one in report["departures"]:
        meaning = DEPARTURES.get(one["kind"])
        raw = "never" if meaning else Markdown("**not known**")
        phase = Phase(one["phase"])
        what = markdown_text(f"{phase.label}: {meaning or 'a kind this report does not know'}")
        kind = markdown_code(one["kind"])
        rows.append([Markdown(f"{what} ({kind})"), size(one["bytes_per_device"]), raw])
    return (
        "Every kind of array and number that devices sent to the server, in every phase. No "
        "message has a field for a sample or its label (`fedtiny/wire/`). What comes "
        "closest are the smallest and largest reading of each channel, and how many test samples "
        "a device has of each class.\n\n"
        + markdown_table(["what", "per device, whole run", "raw samples"], rows)
        + "\n\nPayload bytes, mean over devices. What is sent is not protected beyond that: "
        "trained weights and gradients can say something about the data behind them, and this "
        "run adds neither noise nor secure aggregation."
    )


def ledger(report: Report) -> str:
    """Budget, predicted and measured memory per device."""
    if not report["ledger"]:
        return "No device had a memory budget: `devices.fleet` of the config is empty."
    text = ledger_table(report["ledger"])
    if any(row["micro_batch"] < row["batch"] for row in report["ledger"]):
        text += (
            "\n\nA device whose budget is too small for the whole batch goes through it in "
            "micro-batches and adds up their gradients. Batch norm then sees one micro-batch at a "
            'time ("ghost" batch norm, Hoffer et al. 2017), so such a device computes slightly '
            "different updates."
        )
    if any(row["recompute"] for row in report["ledger"]):
        text += "\n\n" + _recomputed(report["ledger"])
    return text


def _recomputed(rows: Sequence[Mapping[str, Any]]) -> str:
    """Who runs which convolutions twice."""
    devices: dict[tuple[str, ...], list[str]] = {}
    for row in rows:
        if row["recompute"]:
            devices.setdefault(tuple(row["recompute"]), []).append(str(row["partition"]))
    listed = [
        f"on {_named(who)}: {', '.join(map(markdown_code, names))}"
        for names, who in devices.items()
    ]
    return (
        "Before its micro-batch is made smaller, a device runs convolutions again in the backward "
        "pass instead of keeping their outputs. That takes time and changes no bit of the result. "
        f"Recomputed {'; '.join(listed)}."
    )


def _named(devices: Sequence[str]) -> str:
    return ", ".join(devices) if len(devices) <= MOST_ROWS else f"{len(devices)} devices"


def measured(report: Report) -> str:
    """What real devices measured of themselves; nothing for a simulation."""
    if not report["measured"]:
        return ""
    headers = ["device", "it says it is", "free RAM", "free disk", "temperature", "clock",
               "slowed down", "files set aside"]  # fmt: skip
    rows = [_measured_row(row) for row in report["measured"]]
    return (
        "What the devices measured of themselves when they introduced themselves; nothing was "
        "decided by it.\n\n" + markdown_table(headers, rows)
    )


def _measured_row(row: Mapping[str, Any]) -> list[str]:
    heat, now, top = row["temperature_c"], row["clock_mhz"], row["top_clock_mhz"]
    bits = row["throttled"]
    reasons = [] if bits is None else [why for bit, why in THROTTLED.items() if bits & 1 << bit]
    slow = NOT_RUN if bits is None else ", ".join(reasons) or "no"
    clock = NOT_RUN if now is None else f"{now} of {NOT_RUN if top is None else top} MHz"
    return [
        str(row["partition"]),
        row["hardware"],
        size(row["free_ram_bytes"]),
        size(row["free_disk_bytes"]),
        NOT_RUN if heat is None else f"{heat} °C",
        clock,
        slow,
        NOT_RUN if row["set_aside"] is None else str(row["set_aside"]),
    ]


def selection(report: Report) -> str:
    """The candidates and why one of them won."""
    found = report["selection"]
    if found is None:
        return f"Nothing was selected: the method is {markdown_code(report['method'])}."
    layers = list(found["densities"][0])
    rows = []
    for k, densities in enumerate(found["densities"]):
        name = Markdown(f"**{k}** (chosen)") if k == found["chosen"] else str(k)
        loss = f"{found['losses'][k]:.4f}" if found["losses"] else NOT_RUN
        rows.append([name, loss, *(percent(densities[layer]) for layer in layers)])
    return "\n\n".join(
        [
            _scores(found),
            markdown_table(["candidate", "mean loss", *layers], rows),
            "Mean loss (nats) over the development samples of all devices; then the density of "
            "each prunable layer. Candidate 0 prunes every layer alike.",
        ]
    )


def _scores(found: Mapping[str, Any]) -> str:
    if found["scores"] == "random":
        return (
            "**Scores: random.** The server did not pre-train, so the weights' magnitudes meant "
            "nothing and the positions kept at first were drawn at random."
        )
    return (
        f"Scores: {found['scores']}, after {found['pretraining_epochs']} epochs on "
        f"{found['pretraining_samples']} public samples, which no device holds. "
        f"Selection: {found['selection']}."
    )


def computation(report: Report) -> str:
    """FLOPs of one training sample."""
    flops = report["flops_per_sample"]
    sparse, dense = flops["training"], flops["training_dense"]
    rows = [
        ["this model", f"{sparse:,}"],
        ["dense", f"{dense:,}"],
        ["ratio", f"{sparse / dense:.3f}"],
    ]
    return (
        markdown_table(["FLOPs per training sample", ""], rows)
        + "\n\nForward 2 per multiply-accumulate with a weight that is present, backward twice "
        "that. Calculated from the layer graph: it is what sparse kernels have to do."
    )


def firmware(report: Report) -> str:
    """Sizes, the check, and each layer."""
    found = report["firmware"]
    if found["flash_bytes"] is None:
        return "Nothing was exported."
    checked = "not checked" if found["mismatches"] is None else f"{found['mismatches']:,}"
    rows = [
        ["flash: weights and quantization parameters", size(found["flash_bytes"])],
        ["RAM: arena", size(found["arena_bytes"])],
        ["code of model and kernels, compiled for this computer", size(found["code_bytes"])],
        ["test vectors", NOT_RUN if found["vectors"] is None else f"{found['vectors']:,}"],
        ["mismatches against the integer reference", checked],
    ]
    text = markdown_table(["int8 C", ""], rows)
    if not found["layers"]:
        return text
    layers = [
        [
            layer["name"],
            layer["format"] or NOT_RUN,
            percent(layer["density"]),
            size(layer["flash_bytes"]),
            markdown_code(layer["kernel"]),
        ]
        for layer in found["layers"]
    ]
    headers = ["step", "weights stored as", "density", "flash", "kernel"]
    return text + "\n\n" + markdown_table(headers, layers)


def reproduction(report: Report, location: str) -> str:
    """The command, and what it ran with."""
    config = shlex.quote(f"{location}/config.toml")
    versions = ", ".join(
        f"{name} {version}" for name, version in report["versions"].items() if version
    )
    timings = ", ".join(
        f"{name.replace('_', ' ')} {seconds:.1f} s"
        for name, seconds in report["timings"].items()
        if seconds is not None
    )
    return (
        f"{markdown_block(visible(f'python -m sims.launch --config {config}'))}\n\n"
        f"Seed {report['seed']}, which with `config.toml` determines every result but the times. "
        f"Measured: {timings}. Written with {versions}. All numbers are in `report.json`, those "
        "of each figure in the CSV file beside it, and every event of the run in `metrics.jsonl`."
    )
