"""One device's own samples: read from its own files, and how they are split into views."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fedtiny.data import shares
from fedtiny.data.config import DataConfig
from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.recordings import read_recorded
from fedtiny.data.spans import Rows, Spans
from fedtiny.data.spool import Holding
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
    """What one device was dealt (:mod:`fedtiny.data.shares`); opens ``path`` and no other file.

    Args:
        path: of the device's share.
        config: the data settings.
        seed: the run's seed.
        partition: which the device holds.

    Raises:
        DataError: the file, named with the reason: missing, damaged, another device's, or of
            another deal.
    """
    arrays = shares.read(path)
    shares.check_origin(path, arrays, shares.device(partition), config, seed)
    names = ("train", "development", "test")
    return ClientData(**shares.views(path, arrays, names, config.label_names))


def split_recorded(holding: Holding, config: DataConfig, seed: int, partition: int) -> ClientData:
    """What one device recorded itself (:mod:`fedtiny.data.recordings`): all of it is its own.

    It is split here, by the fractions of the settings, and dealt to nobody else, whatever the
    partitioner: ``x_test`` of ``.npz`` files becomes the test view, and without it a part of every
    class is drawn. No two views share a reading: CSV recordings are cut into windows here, and
    windows in ``.npz`` files that overlap say so (:mod:`fedtiny.data.npz_spans`) or bring
    ``x_test``.

    Args:
        holding: the device's files.
        config, seed, partition: as for :func:`load_client`.

    Raises:
        DataError: a file cannot be used, named with the reason; or there are too few samples.
    """
    data, spans, test = read_recorded(holding, config)
    try:
        return split(data, spans, test, config, seed, partition)
    except DataError as error:
        raise bad_file(holding.path, str(error)) from error


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
        test: what it is tested on; ``None`` draws it, see :func:`view_rows`.
        config: the fractions.
        seed: the run's seed.
        partition: of the client.

    Raises:
        DataError: there are too few samples.
    """
    rows = view_rows(share.y, spans, test is None, config, seed, partition)
    drawn = share.take(rows.test) if test is None else test
    return ClientData(share.take(rows.train), share.take(rows.development), drawn)


@dataclass(frozen=True, eq=False)
class ViewRows:
    """Which rows of a share are in which view; `test` is empty where that is not drawn from it."""

    train: Rows
    development: Rows
    test: Rows


def view_rows(
    y: Rows, spans: Spans, draws_test: bool, config: DataConfig, seed: int, partition: int
) -> ViewRows:
    """The rows of three views that share no sample and no reading.

    Args:
        y: (N,) classes of a share.
        spans: which of it overlaps in time.
        draws_test: ``config.test_fraction`` of the share, stratified by class, is the test view.
        config: the fractions.
        seed: the run's seed.
        partition: of the client.

    Raises:
        DataError: there are too few samples.
    """
    if len(y) < 3:
        raise DataError(
            f"client {partition} has {len(y)} samples, too few for train, development and "
            "test: use fewer partitions, raise min_samples, or record more"
        )
    test, rest = np.zeros(0, np.int64), np.arange(len(y))
    if draws_test:
        generator = rng(seed, "test", partition=partition)
        test, rest = _hold_out(y, spans, config.test_fraction, generator)
        y, spans = y[rest], spans.take(rest)
    generator = rng(seed, "development", partition=partition)
    development, train = _hold_out(y, spans, config.development_fraction, generator)
    return ViewRows(rest[train], rest[development], test)


def _hold_out(
    y: Rows, spans: Spans, fraction: float, generator: np.random.Generator
) -> tuple[Rows, Rows]:
    """(held out, rest): a share of every class, at least one row, sharing no reading with the rest.

    Per class the rows are lined up recording after recording, in random order of recordings, and
    the end of the line is held out: runs of windows cost one dropped neighbour, where scattered
    windows would cost two each. Samples without time are simply drawn at random.
    """
    recordings, recording = spans.numbered()
    rank = generator.permutation(recordings)[recording]
    line = np.lexsort((spans.start, rank))
    classes = y[line]
    rows_of_class = [line[classes == label] for label in sorted(set(y.tolist()))]
    sizes = [int(fraction * len(rows) + 0.5) for rows in rows_of_class]
    runs = [rows[len(rows) - size :] for rows, size in zip(rows_of_class, sizes, strict=True)]
    held_out = np.sort(np.concatenate(runs)) if any(sizes) else line[-1:]
    rest = np.flatnonzero(~spans.touching(held_out))
    if len(rest) == 0:
        raise DataError(
            f"holding out {fraction:.0%} of {len(y)} samples leaves none to train on: "
            "lower the fraction or raise min_samples"
        )
    return held_out, rest
