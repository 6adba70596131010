"""report.md: what a run achieved, for people."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fedtiny.config import RunConfig
from fedtiny.escaping.markdown import markdown_code, markdown_text
from fedtiny.methods import METHODS
from fedtiny.report import sections
from fedtiny.report.adapting import adapting_section
from fedtiny.report.clock import clock_section
from fedtiny.report.encoding import encoding_section
from fedtiny.report.race import race_section
from fedtiny.report.shapes import shapes_section
from fedtiny.report.tables import percent, size
from fedtiny.report.tiers import refused_devices, tiers_section

Report = Mapping[str, Any]


def render(report: Report, captions: Mapping[str, str], location: str) -> str:
    """The whole document.

    Args:
        report: from :func:`fedtiny.report.summary.summarize`.
        captions: of the figures in ``plots/``, by name.
        location: of the run folder, as one would type it.
    """
    config = RunConfig.model_validate(report["config"])

    def figure(name: str) -> str:
        if name not in captions:
            return ""
        return f"![{name.replace('_', ' ')}](plots/{name}.png)\n\n*{markdown_text(captions[name])}*"

    parts = [
        f"# {markdown_text(report['name'])}, seed {report['seed']}",
        achieved(report, config),
        _left_out(report),
        "## Accuracy",
        sections.accuracy(report, config),
        figure("accuracy"),
        "### Person by person",
        sections.people(report, config),
        figure("people"),
        figure("confusion"),
        "## What was sent",
        sections.traffic(report),
        figure("bytes"),
        figure("accuracy_uplink"),
        *_failures(report),
        "## What left each device",
        sections.departures(report),
        *_simulated_time(report, figure),
        *_shapes(report),
        *_tiers(report, figure),
        *_adapting(report, config, figure),
        *_encoded(report),
        "## Memory of each device",
        sections.ledger(report),
        figure("ledger"),
        sections.measured(report),
        *_modes(report),
        "## Which weights stayed",
        sections.selection(report),
        figure("density"),
        "## Computation",
        sections.computation(report),
        "## Firmware",
        sections.firmware(report),
        figure("footprint"),
        "## What is simulated, what is measured",
        SIMULATED,
        _NO_BOARDS_TIME if report["clock"] is None else _CLOCK,
        "## How to get these numbers again",
        sections.reproduction(report, location),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def achieved(report: Report, config: RunConfig) -> str:
    """The one paragraph for whoever reads no further."""
    sentences = [_what(report, config), *_how_good(report), *_how_cheap(report), *_firmware(report)]
    if not report["finished"]:
        sentences.insert(0, f"**Unfinished: {_rounds_done(report, config)}.**")
    return " ".join(sentences)


def _simulated_time(report: Report, figure: Callable[[str], str]) -> list[str]:
    if report["clock"] is None:
        return []
    text = clock_section(report["clock"])
    return ["## Simulated time", text, figure("accuracy_time"), figure("round_gantt")]


def _shapes(report: Report) -> list[str]:
    text = shapes_section(report["shapes"]) or race_section(report["race"])
    return ["## Shapes of the model", text] if text else []


def _tiers(report: Report, figure: Callable[[str], str]) -> list[str]:
    if report["tiers"] is None:
        return []
    text = tiers_section(report["tiers"])
    return ["## Parts of the model", text, figure("accuracy_tiers")]


def _adapting(report: Report, config: RunConfig, figure: Callable[[str], str]) -> list[str]:
    if report["adapting"] is None:
        return []
    text = adapting_section(report["adapting"], config)
    return ["## What devices learned after the rounds", text, figure("adapted")]


def _encoded(report: Report) -> list[str]:
    if not report["encoded"]:
        return []
    return ["## What devices sent as codes", encoding_section(report["encoded"])]


def _modes(report: Report) -> list[str]:
    if not report["modes"]:
        return []
    boards = (f"- {markdown_text('. '.join(one['sentences']))}" for one in report["modes"])
    return ["## What each board may do with the model", "\n".join(boards)]


def _failures(report: Report) -> list[str]:
    if not report["failures"]:
        return []
    return ["## Who failed, or was not believed", sections.failures(report)]


def _left_out(report: Report) -> str:
    if not report["notes"]:
        return ""
    return f"Not in this report: {markdown_text('; '.join(report['notes']))}."


def _rounds_done(report: Report, config: RunConfig) -> str:
    return f"{report['rounds']} of {config.federation.rounds} rounds are done"


def _what(report: Report, config: RunConfig) -> str:
    model = report["model"]
    unable = refused_devices(report)
    able = config.data.partitions - unable
    text = (
        f"{able} simulated {'device' if able == 1 else 'devices'} trained one "
        f"{markdown_code(model['model'])} of {model['parameters']:,} parameters in "
        f"{report['rounds']} rounds, each on its own data."
    )
    if unable:
        text += f" {unable} more could train no part of it."
    if report["stopped_early"]:
        text += (
            f" It was stopped before round {config.federation.rounds}: the training loss had not "
            f"fallen for {config.stopping.patience} rounds."
        )
    if METHODS[report["method"]].dense_model:
        return text + " Nothing was pruned: this is plain federated averaging."
    return text + (
        f" {percent(report['density'])} of its prunable weights are left, "
        f"{percent(report['density_all'])} of all its parameters."
    )


def _how_good(report: Report) -> list[str]:
    same, unseen = (report["accuracy"]["float"][k] for k in ("same_people", "unseen_people"))
    text = f"It is right on {percent(same)} of the participants' test samples"
    if unseen is not None:
        text += f" and on {percent(unseen)} of those of nobody who took part"
    dense = report["dense_reference"]
    if dense["same_people"] is None:
        return [text + "."]
    return [
        text + ".",
        f"The same federation without pruning reaches {percent(dense['same_people'])} and "
        f"{percent(dense['unseen_people'])}.",
    ]


def _how_cheap(report: Report) -> list[str]:
    up = report["bytes"]["up"]
    text = f"The devices sent {size(up['wire'])} in all"
    if not METHODS[report["method"]].dense_model:
        sending = f"sending the dense model every round ({size(up['dense_equivalent'])})"
        if not up["ratio"]:
            text += f", against {sending.removeprefix('sending ')}"
        elif up["ratio"] >= 1:
            text += f", {up['ratio']:.1f} times less than {sending}"
        else:
            text += f", {1 / up['ratio']:.1f} times as much as {sending}"
    sentences = [text + "."]
    smaller = [row for row in report["ledger"] if row["micro_batch"] < row["batch"]]
    if smaller:
        sentences.append(
            f"{len(smaller)} of {len(report['ledger'])} devices had to train in micro-batches to "
            "keep within their memory."
        )
    if again := sum(bool(row["recompute"]) for row in report["ledger"]):
        sentences.append(
            f"{again} of {len(report['ledger'])} devices ran convolutions again in the backward "
            "pass instead of keeping their outputs, which takes time but changes no result."
        )
    return sentences


def _firmware(report: Report) -> list[str]:
    firmware = report["firmware"]
    if firmware["flash_bytes"] is None:
        return []
    text = (
        f"As int8 C it takes {size(firmware['flash_bytes'])} of flash and "
        f"{size(firmware['arena_bytes'])} of RAM"
    )
    if firmware["mismatches"] is None:
        return [text + "."]
    if firmware["mismatches"] == 0:
        outcome = f"agrees bit for bit with the integer reference on all {firmware['vectors']:,}"
    else:
        outcome = (
            f"**differs** from the integer reference on {firmware['mismatches']:,} of "
            f"{firmware['vectors']:,}"
        )
    return [f"{text}; compiled for this computer, it {outcome} test samples."]


SIMULATED = """\
- **Simulated**: the devices. All of them ran as processes of one computer; a board's name stands \
for its memory budget.
- **Measured**: bytes, from the messages as Flower serializes them; memory, as what a \
real training step of the same engine allocated on this computer under the device's micro-batch; \
accuracy; the firmware's flash and RAM, from the arrays in the generated C.
- **Predicted**: training memory, from the layer graph, before any training.
- The int8 check on the participants' test samples is made by the simulator, which owns all data. \
In a deployment raw samples never leave a device, so it cannot be made there."""

_NO_BOARDS_TIME = "No time in this report is a board's."

_CLOCK = """\
- **Simulated, too**: every second of "Simulated time". It is calculated, and no clock of this \
computer has a say in it; no other time in this report is a board's."""
