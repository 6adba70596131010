"""New users of a finished model, for the study of adapting: people, and images that are turned.

A *take* is what one labels at a time. Of people it is 5 s of an exercise, drawn from the first part
of a recording (the source has two recordings of each person and exercise, one an arm, about 35 s
long); the model is tested on all windows of the last part, half a window away from any take. Of
images it is three pictures of one class; a user's camera turns and flattens all of them alike.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from fedtiny.adapt.recordings import Recordings, windows
from fedtiny.config import RunConfig
from fedtiny.data.dataset import Dataset, concatenate
from fedtiny.data.samples import Samples
from fedtiny.data.simulated import deal
from fedtiny.data.sources import unseen_people
from fedtiny.data.watch.recordings import read_recordings
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.seeding import rng

TAKE, STRIDE, LATE = 256, 64, 0.4
"""Readings of a take, between the starts of windows; share of a recording that is tested on."""
PICTURES, TESTED = 3, 500
"""Images of a take; tested on."""
CAMERAS = ((-30.0, 0.6), (20.0, 0.4), (45.0, 1.0))
"""(degrees, contrast) of each image user."""


@dataclass(frozen=True, slots=True, eq=False)
class Wearer:
    """A user whom a model never saw.

    Attributes:
        dataset: name of the model's data.
        finished: the model.
        seed: of the run that made it.
        person: as the source numbers them, or as cameras are.
        takes: all that could be labelled, one take after another.
        labels: class of each take.
        tested: what the model is tested on.
    """

    dataset: str
    finished: TrainedModel
    seed: int
    person: int
    takes: tuple[Samples, ...]
    labels: npt.NDArray[np.int64]
    tested: Samples

    def labelled(self, of_each: int) -> Samples:
        """``of_each`` takes of every class; more contain those of fewer."""
        draw, chosen = rng(self.seed, f"takes of {self.person}"), list[int]()
        for k in np.unique(self.labels):
            chosen += draw.permutation(np.flatnonzero(self.labels == k))[:of_each].tolist()
        return Samples(
            concatenate(tuple(self.takes[row].dataset for row in chosen)),
            self.finished.normalization,
        )


def wearers(run: Path) -> Iterator[Wearer]:
    """The people whom a finished run held out, or users with cameras of their own."""
    folder = RunFolder(run)
    config, finished = folder.load_config(), TrainedModel.load(folder.model)
    if config.data.source == "watch":
        yield from _people(config, finished)
    else:
        yield from _cameras(config, finished)


def _people(config: RunConfig, finished: TrainedModel) -> Iterator[Wearer]:
    recordings = read_recordings()
    people = unseen_people(config.data, np.unique(recordings["person"]).tolist(), config.seed)
    starts, window = np.cumsum(recordings["length"]) - recordings["length"], _window(finished)
    for person in people:
        early: list[tuple[np.ndarray, int]] = []
        late: list[tuple[np.ndarray, int]] = []
        for row in np.flatnonzero(recordings["person"] == person):
            length, label = int(recordings["length"][row]), int(recordings["label"][row])
            readings = recordings["counts"][starts[row] : starts[row] + length]
            cut = int(length * (1 - LATE))
            early += [(readings[i : i + TAKE], label) for i in range(0, cut - TAKE + 1, TAKE)]
            late.append((readings[cut + window // 2 :], label))
        takes = tuple(_cut(finished, [one]) for one in early)
        labels = np.array([label for _, label in early], np.int64)
        tested = _cut(finished, late)
        yield Wearer("watch", finished, config.seed, int(person), takes, labels, tested)


def _window(finished: TrainedModel) -> int:
    return finished.graph.input_shape[2]


def _cut(finished: TrainedModel, parts: Sequence[tuple[np.ndarray, int]]) -> Samples:
    readings = tuple(readings for readings, _ in parts)
    own = Recordings(readings, np.array([label for _, label in parts], np.int64))
    data = windows(own, _window(finished), STRIDE, finished.labels, finished.sensor)
    return Samples(data, finished.normalization)


def _cameras(config: RunConfig, finished: TrainedModel) -> Iterator[Wearer]:
    """Users whose pictures are of the official test set, each user's turned and flattened alike."""
    unseen = deal(config.data, config.seed).server.unseen
    for user, camera in enumerate(CAMERAS):
        order = rng(config.seed, f"pictures of camera {user}").permutation(len(unseen))
        tested = _seen_by(camera, unseen.take(order[:TESTED]))
        takes: list[Samples] = []
        labels: list[int] = []
        rest = order[TESTED : 4 * TESTED]
        for k in np.unique(unseen.y):
            mine = rest[unseen.y[rest] == k]
            for first in range(0, len(mine) - PICTURES + 1, PICTURES):
                pictures = _seen_by(camera, unseen.take(mine[first : first + PICTURES]))
                takes.append(Samples(pictures, finished.normalization))
                labels.append(int(k))
        yield Wearer(
            "fashion_mnist",
            finished,
            config.seed,
            user,
            tuple(takes),
            np.array(labels, np.int64),
            Samples(tested, finished.normalization),
        )


def _seen_by(camera: tuple[float, float], data: Dataset) -> Dataset:
    degrees, contrast = camera
    pictures = np.empty_like(data.x)
    for place, picture in zip(pictures, data.x, strict=True):
        turned = Image.fromarray(picture[0]).rotate(degrees, Image.Resampling.BILINEAR)
        flat = 128 + contrast * (np.asarray(turned, np.float64) - 128)
        place[0] = flat.round().clip(0, 255)
    return replace(data, x=pictures)
