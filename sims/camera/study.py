"""``python -m sims.camera.study RUN``: what a pooling sensor costs in accuracy, and what it saves.

RUN is a finished run of sims/configs/camera.toml, whose model looks into boxes. Detectors for each
seed, k and colour are trained on scenes of the training images; thresholds are chosen on other
scenes of these; tested is on scenes of the official test images.

Adds to docs/results/hirise.csv what it lacks, and writes the detectors to RUN/detectors.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from fedtiny.command_line import CommandLine
from fedtiny.data.dataset import Dataset
from fedtiny.data.images import GRAY, RGB
from fedtiny.escaping.terminal import Screen
from fedtiny.report import rows as csv_rows
from fedtiny.runs import atomic
from fedtiny.runs.fields import Count, Share
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sensing.box import Box
from sims.camera.detector import SIDES, boxes
from sims.camera.images import images_of
from sims.camera.scenes import SENSOR, Scene, scene
from sims.camera.seeing import Classify, Sight, classifier, in_one_frame, in_two_stages
from sims.camera.training import Course, Detector, best_threshold, frames_of, train
from sims.code_version import code_version

CSV = Path("docs/results/hirise.csv")
SEEDS = (0, 1, 2)
CHOSEN, TESTED = 40, 100
"""Scenes that thresholds are chosen on, and that are tested on, of every seed."""

SHOWN = (4, True, 0)
"""(k, grey, seed) of the detector that the page's pictures and the firmware have."""

TWO_STAGES, ONE_FRAME, TRUE_BOXES = "two stages", "one frame", "true boxes"


@dataclass(frozen=True, slots=True)
class Row:
    """One way of looking at one seed's test scenes; bytes are means over scenes.

    ``one frame`` cuts boxes out of the pooled frame; with k = 1 and RGB it is the full-frame path.
    ``true boxes`` are an oracle's, read at full resolution after the pooled frame.
    """

    k: Count
    colour: str
    seed: int
    recall: Share
    accuracy: Share
    transfer_bytes: float
    formula_bytes: float
    peak_image_bytes: Count
    commit: str
    way: str
    precision: Share

    @property
    def key(self) -> tuple[int, str, int, str]:
        """What the study has one row of."""
        return self.k, self.colour, self.seed, self.way


@dataclass(frozen=True, eq=False)
class Scenes:
    """One seed's."""

    trained: Sequence[Scene]
    chosen: Sequence[Scene]
    tested: Sequence[Scene]

    @classmethod
    def of(cls, images: tuple[Dataset, Dataset], seed: int, course: Course) -> Scenes:
        """Drawn from (training, test) images."""
        training, test = images
        return cls(
            [scene(training, seed, "train", i) for i in range(course.scenes)],
            [scene(training, seed, "choose", i) for i in range(CHOSEN)],
            [scene(test, seed, "test", i) for i in range(TESTED)],
        )


def made(scenes: Scenes, pooling: int, grey: bool, course: Course, seed: int) -> Detector:
    """A detector with its threshold."""
    frames = frames_of(scenes.trained, pooling, grey, seed)
    untuned = train(frames, scenes.trained, pooling, grey, course, seed)
    logits = untuned.logits(frames_of(scenes.chosen, pooling, grey, seed))
    return replace(untuned, threshold=best_threshold(logits, [s.items for s in scenes.chosen]))


def keep(detector: Detector, scenes: Scenes, folder: Path, seed: int) -> None:
    """Write a detector as what the exporter reads, its threshold beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    name = name_of(detector.pooling, detector.grey, seed)
    frames = frames_of(scenes.chosen, detector.pooling, detector.grey, seed)
    labels = ("nothing", *(f"{side} pixels" for side in SIDES))
    TrainedModel(
        detector.graph,
        detector.model,
        detector.normalization,
        detector.ranges(frames),
        labels,
        GRAY if detector.grey else RGB,
    ).save(folder / f"{name}.safetensors")
    atomic.write(folder / f"{name}.json", json.dumps({"threshold": detector.threshold}) + "\n")


def name_of(k: int, grey: bool, seed: int) -> str:
    """What a detector's files are called.

    >>> name_of(*SHOWN)
    'k4-grey-0'
    """
    return f"k{k}-{colour_of(grey)}-{seed}"


def colour_of(grey: bool) -> str:
    """As the CSV says it."""
    return "grey" if grey else "rgb"


def sights(
    detector: Detector, scenes: Sequence[Scene], classify: Classify, seed: int
) -> Iterator[tuple[str, Sight]]:
    """Each way of looking with one detector."""
    pooling, grey = detector.pooling, detector.grey
    logits = detector.logits(frames_of(scenes, pooling, grey, seed))
    seen = [[box for box, _ in boxes(one, detector.threshold)] for one in logits]
    yield TWO_STAGES, in_two_stages(scenes, seen, pooling, grey, classify, seed)
    yield ONE_FRAME, in_one_frame(scenes, seen, pooling, grey, classify, seed)
    true: list[list[Box]] = [[item.box for item in one.items] for one in scenes]
    if pooling == max(SENSOR.poolings):
        yield TRUE_BOXES, in_two_stages(scenes, true, pooling, grey, classify, seed)


cli = CommandLine()


@cli.command()
def study(
    run: Annotated[Path, typer.Argument(help="A finished run of sims/configs/camera.toml.")],
    csv: Annotated[Path, typer.Option(help="File whose rows are completed.")] = CSV,
    scenes: Annotated[int, typer.Option(help="To train a detector on.")] = 160,
    only: Annotated[list[int] | None, typer.Option("--seed", help="Of these seeds only.")] = None,
    k_only: Annotated[list[int] | None, typer.Option("--k", help="Of these k only.")] = None,
) -> None:
    """Train and test what the CSV lacks; train the detector that is shown if it is missing."""
    folder, course = RunFolder(run), Course(scenes)
    finished = TrainedModel.load(folder.model)
    images = images_of(folder, finished.labels)
    shown = run / "detectors" / f"{name_of(*SHOWN)}.safetensors"
    known, commit = csv_rows.read(csv, Row), code_version()
    csv_rows.write(csv, Row, known)
    done = {(row.k, row.colour, row.seed) for row in known}
    classify, screen = classifier(finished), Screen(stderr=True)
    for seed in only or SEEDS:
        wanted = [
            (k, grey)
            for k in k_only or reversed(SENSOR.poolings)
            for grey in (False, True)
            if (k, colour_of(grey), seed) not in done
            or ((k, grey, seed) == SHOWN and not shown.is_file())
        ]
        drawn = Scenes.of(images, seed, course) if wanted else None
        for k, grey in wanted:
            assert drawn is not None
            detector = made(drawn, k, grey, course, seed)
            keep(detector, drawn, run / "detectors", seed)
            if (k, colour_of(grey), seed) in done:
                continue
            for way, sight in sights(detector, drawn.tested, classify, seed):
                row = Row(k, colour_of(grey), seed, commit=commit, way=way, **asdict(sight))
                csv_rows.append(csv, row)
                screen.say(f"{way}, k = {k}, {row.colour}, seed {seed}: {sight}")


if __name__ == "__main__":
    cli()
