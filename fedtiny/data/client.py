"""One device's own samples: read from its own file, and how they are split into views."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedtiny.data import shares
from fedtiny.data.config import DataConfig
from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.npz import read_samples
from fedtiny.data.npz_file import Arrays
from fedtiny.data.spans import Rows, Spans
from fedtiny.seeding import rng


@dataclass(frozen=True)
class ClientData:
    """What one device holds; the three views share no sample.

    Attributes:
        train: for local training.
        development: for candidate selection (ABNS), `development_fraction` of the training data.
        test: never trained on; for measuring accuracy on people who took part.
    """

    train: Dataset
    development: Dataset
    test: Dataset


def load_client(path: Path, config: DataConfig, seed: int, partition: int) -> ClientData:
    """What one device holds; opens ``path`` and no other file.

    The file is a share that was dealt (:mod:`fedtiny.data.shares`), or what the device recorded
    itself, an npz file with arrays ``x`` and ``y`` (:mod:`fedtiny.data.npz`). Recordings are split
    here, by the fractions of the settings: ``x_test`` becomes the test view, and without it a
    part of every class is drawn. Windows that overlap in time would leak from one view into
    another, so such recordings bring their own ``x_test``.

    Args:
        path: of the device's file.
        config: the data settings.
        seed: the run's seed.
        partition: which the device holds.

    Raises:
        DataError: the file, named with the reason: missing, damaged, another device's, of
            another deal, or with too few samples.
    """
    arrays = shares.read(path)
    if "x" in arrays:
        return _recorded(path, arrays, config, seed, partition)
    shares.check_origin(path, arrays, shares.device(partition), config, seed)
    names = ("train", "development", "test")
    return ClientData(**shares.views(path, arrays, names, config.label_names))


def _recorded(
    path: Path, arrays: Arrays, config: DataConfig, seed: int, partition: int
) -> ClientData:
    if "y" not in arrays:
        raise bad_file(path, f"no array named y; found {', '.join(arrays)}")
    share, test = read_samples(path, arrays, config.label_names, config.labels)
    try:
        return split(share, Spans.separate(len(share)), test, config, seed, partition)
    except DataError as error:
        raise bad_file(path, str(error)) from error


def split(
    share: Dataset,
    spans: Spans,
    test: Dataset | None,
    config: DataConfig,
    seed: int,
    partition: int,
) -> ClientData:
    """Three views that share no sample and no reading.

    Args:
        share: everything the client may train on.
        spans: which of it overlaps in time.
        test: what it is tested on; ``None`` draws ``config.test_fraction`` of the share,
            stratified by class.
        config: the fractions.
        seed: the run's seed.
        partition: of the client.

    Raises:
        DataError: there are too few samples.
    """
    if len(share) < 3:
        raise DataError(
            f"client {partition} has {len(share)} samples, too few for train, development and "
            "test: use fewer partitions or raise min_samples"
        )
    if test is None:
        generator = rng(seed, "test", partition=partition)
        drawn, rest = _hold_out(share, spans, config.test_fraction, generator)
        test, share, spans = share.take(drawn), share.take(rest), spans.take(rest)
    generator = rng(seed, "development", partition=partition)
    development, train = _hold_out(share, spans, config.development_fraction, generator)
    return ClientData(share.take(train), share.take(development), test)


def _hold_out(
    data: Dataset, spans: Spans, fraction: float, generator: np.random.Generator
) -> tuple[Rows, Rows]:
    """(held out, rest): a share of every class, at least one row, sharing no reading with the rest.

    Per class the rows are lined up recording after recording, in random order of recordings, and
    the end of the line is held out: runs of windows cost one dropped neighbour, where scattered
    windows would cost two each. Samples without time are simply drawn at random.
    """
    _, recording = np.unique(spans.recording, return_inverse=True)
    rank = generator.permutation(recording.max() + 1)[recording]
    line = np.lexsort((spans.start, rank))
    rows_of_class = [line[data.y[line] == label] for label in np.unique(data.y)]
    sizes = [int(fraction * len(rows) + 0.5) for rows in rows_of_class]
    runs = [rows[len(rows) - size :] for rows, size in zip(rows_of_class, sizes, strict=True)]
    held_out = np.sort(np.concatenate(runs)) if any(sizes) else line[-1:]
    rest = np.flatnonzero(~spans.touching(held_out))
    if len(rest) == 0:
        raise DataError(
            f"holding out {fraction:.0%} of {len(data)} samples leaves none to train on: "
            "lower the fraction or raise min_samples"
        )
    return held_out, rest
