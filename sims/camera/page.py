"""``python -m sims.camera.page RUN``: table and pictures of docs/results/hirise.md, from a CSV."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pandas as pd
import typer
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from fedtiny.command_line import CommandLine
from fedtiny.report import rows as csv_rows
from fedtiny.report.blocks import replace_block
from fedtiny.report.plots.style import colors, legend_below, logarithmic, panels, style
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sensing.box import overlap
from fedtiny.sensing.pixels import pooled
from sims.camera.images import images_of
from sims.camera.integers import IntegerCamera
from sims.camera.scenes import SENSOR, Scene, scene
from sims.camera.study import (
    CSV,
    ONE_FRAME,
    SHOWN,
    TRUE_BOXES,
    TWO_STAGES,
    Row,
    name_of,
)

BEGIN, END = "<!-- hirise: made by `make camera` -->", "<!-- /hirise -->"
FULL = (ONE_FRAME, 1, "rgb")
"""The path without a pooling sensor: way, k, colour."""


def table(csv: Path) -> str:
    """One line for each way of looking; means ± standard deviation over seeds."""
    rows = pd.DataFrame(csv_rows.read(csv, Row))
    full = rows[_is(rows, *FULL)]
    seeds = sorted(set(rows["seed"]))
    lines = [
        f"Seeds {', '.join(map(str, seeds))}; %, mean ± standard deviation over seeds; bytes are "
        "means over scenes.",
        "",
        "| way | k | colour | recall | precision | accuracy | bytes sent | fewer | peak image |",
        "|---|--:|---|--:|--:|--:|--:|--:|--:|",
    ]
    for (way, k, colour), mine in rows.groupby(["way", "k", "colour"], sort=False):
        shares = [_spread(100 * mine[name]) for name in ("recall", "precision", "accuracy")]
        sent = mine["transfer_bytes"].mean()
        fewer = full["transfer_bytes"].mean() / sent
        lines.append(
            f"| {way} | {k} | {colour} | {' | '.join(shares)} | {sent:,.0f} | {fewer:.1f}× "
            f"| {mine['peak_image_bytes'].max():,} |"
        )
    wrong = int((rows["transfer_bytes"] != rows["formula_bytes"]).sum())
    lines += ["", f"Rows whose counted bytes differ from the formula's: {wrong} of {len(rows)}."]
    return "\n".join(lines)


def _is(rows: pd.DataFrame, way: str, k: int, colour: str) -> pd.Series[bool]:
    return (rows["way"] == way) & (rows["k"] == k) & (rows["colour"] == colour)


def _spread(values: pd.Series[float]) -> str:
    return f"{values.mean():.1f} ± {values.std():.1f}"


def knee(csv: Path) -> Path:
    """Recall and accuracy against k; accuracy against bytes."""
    rows = pd.DataFrame(csv_rows.read(csv, Row))
    means = rows.groupby(["way", "k", "colour"], as_index=False)[
        ["recall", "accuracy", "transfer_bytes"]
    ].mean()
    full = means[_is(means, *FULL)]["accuracy"].iloc[0]
    with style():
        figure, (left, right) = panels(1, 2, 9.0, 4.2)
        for colour, shade in zip(("rgb", "grey"), colors(2), strict=True):
            mine = means[(means["way"] == TWO_STAGES) & (means["colour"] == colour)]
            for what, line in (("recall", "o--"), ("accuracy", "o-")):
                left.plot(mine["k"], 100 * mine[what], line, color=shade, label=f"{what}, {colour}")
        for way, shade in zip((TWO_STAGES, ONE_FRAME, TRUE_BOXES), colors(3), strict=True):
            mine = means[means["way"] == way].sort_values("transfer_bytes")
            for colour, mark in (("rgb", "o"), ("grey", "s")):
                own = mine[mine["colour"] == colour]
                right.plot(
                    own["transfer_bytes"], 100 * own["accuracy"], mark, color=shade,
                    label=f"{way}, {colour}",
                )  # fmt: skip
                for one in own.itertuples():
                    right.annotate(
                        str(one.k), (one.transfer_bytes, 100 * one.accuracy), fontsize=7,
                        xytext=(0, 6 if colour == "grey" else -12), textcoords="offset points",
                        ha="center",
                    )  # fmt: skip
        for axes in (left, right):
            axes.axhline(100 * full, linestyle=":", color="0.5", label="full frame, accuracy")
            axes.set_ylabel("%")
        left.set_xscale("log", base=2)
        left.set_xticks(list(SENSOR.poolings), labels=list(map(str, SENSOR.poolings)))
        left.set_xlabel("k of the pooled frame (two stages)")
        logarithmic(right, "x", marks="{x:,.0f}")
        right.set_xlabel("bytes sent per scene; numbers: k")
        right.set_ylabel("accuracy, %")
        legend_below(figure, [left, right])
        path = csv.with_name("hirise.png")
        figure.savefig(path, dpi=150, metadata={"Software": None})
    return path


def examples(csv: Path, run: Path, detector: str) -> Path:
    """Three test scenes as the int8 camera sees them: boxes above, the pooled frame below."""
    folder = RunFolder(run)
    finished = TrainedModel.load(folder.model)
    camera = IntegerCamera.load(run / "detectors" / f"{detector}.safetensors", finished)
    images = images_of(folder, finished.labels)[1]
    with style():
        figure, axes = panels(2, 3, 9.0, 5.0)
        for i in range(3):
            shown = scene(images, 0, "test", i)
            _draw_scene(axes[i], shown, camera, finished.labels)
            small = pooled(shown.light, camera.pooling, camera.grey) >> 8
            axes[3 + i].imshow(small, cmap="grey", vmin=0, vmax=255)
        for one in axes:
            one.set_axis_off()
        path = csv.with_name("hirise_scenes.png")
        figure.savefig(path, dpi=150, metadata={"Software": None})
    return path


def _draw_scene(axes: Axes, shown: Scene, camera: IntegerCamera, labels: tuple[str, ...]) -> None:
    """Green: an item, rightly classified; orange: wrongly; red: no item; white: missed."""
    axes.imshow(shown.light >> 8)
    seen = camera.look(shown.light)
    for box, label in seen:
        hit = [item for item in shown.items if overlap(box, item.box) * 2 >= 1]
        shade = "red" if not hit else "lime" if hit[0].label == label else "orange"
        corner = (box.x, box.y)
        axes.add_patch(Rectangle(corner, box.width, box.height, fill=False, edgecolor=shade))
        axes.text(box.x, box.y - 3, labels[label], color=shade, fontsize=7)
    for item in shown.items:
        if all(overlap(box, item.box) * 2 < 1 for box, _ in seen):
            box = item.box
            around = Rectangle(
                (box.x, box.y), box.width, box.height, fill=False, edgecolor="white", linestyle=":"
            )
            axes.add_patch(around)


cli = CommandLine()


@cli.command()
def page(
    run: Annotated[Path, typer.Argument(help="Of the study; with its detectors.")],
    csv: Annotated[Path, typer.Option(help="The study's rows.")] = CSV,
    detector: Annotated[str, typer.Option(help="That the pictures show.")] = name_of(*SHOWN),
) -> None:
    """Draw, and rewrite the table of the page beside the CSV."""
    text = csv.with_suffix(".md").read_text(encoding="utf-8")
    text = replace_block(text, BEGIN, END, table(csv))
    csv.with_suffix(".md").write_text(text, encoding="utf-8")
    print(knee(csv), examples(csv, run, detector), sep="\n")


if __name__ == "__main__":
    cli()
