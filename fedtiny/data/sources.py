"""Every source as the same thing: a pool to deal out and an unseen set."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.config import DataConfig
from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import DataError
from fedtiny.data.images import missing
from fedtiny.data.labels import LabelMap, check_all_occur, check_range
from fedtiny.data.npz import read_npz
from fedtiny.data.published import PUBLISHED
from fedtiny.data.spans import Spans
from fedtiny.data.watch.recordings import early_and_late_windows, read_recordings, windows
from fedtiny.seeding import rng


@dataclass(frozen=True)
class Source:
    """What is dealt to clients, and what is not.

    Attributes:
        pool: samples to deal.
        spans: which of them overlap in time.
        later: test samples of the pool's people, cut off in time; None where samples have no
            time, so that each client's test set is drawn from its own share.
        unseen: people or samples that take no part.
    """

    pool: Dataset
    spans: Spans
    later: Dataset | None
    unseen: Dataset


def read_source(config: DataConfig, seed: int) -> Source:
    """Read what `config.source` names.

    Raises:
        DataError: a file is missing or malformed, or the people to hold out are not in it.
    """
    match config.source:
        case "watch":
            return _watch(config, seed)
        case "npz":
            return _npz(config, seed)
    return _published(config)


def _watch(config: DataConfig, seed: int) -> Source:
    recordings = read_recordings()
    held_out = _held_out(config, recordings["person"], seed)
    early, late = early_and_late_windows(
        recordings, ~held_out, config.window, config.stride, config.test_fraction
    )
    unseen, _ = windows(recordings, held_out, config.window, config.stride)
    source = Source(early[0], early[1], late[0], unseen)
    names = config.label_names
    return source if not names else _renamed(source, names)


def _renamed(source: Source, names: tuple[str, ...]) -> Source:
    if len(names) != len(source.pool.labels):
        raise DataError(f"{len(names)} label_names for {len(source.pool.labels)} classes")
    pool, unseen = replace(source.pool, labels=names), replace(source.unseen, labels=names)
    later = None if source.later is None else replace(source.later, labels=names)
    return Source(pool, source.spans, later, unseen)


def _npz(config: DataConfig, seed: int) -> Source:
    path = _path(config)
    if not os.path.exists(path):  # noqa: PTH110 - a path that cannot be is none, no error
        raise missing(
            path,
            "Set data.path to your .npz file (fedtiny.data.npz says what it holds); configs in "
            "sims/configs say at their top how theirs is made",
        )
    data, spans, test = read_npz(path, config.label_names, config.labels)
    check_all_occur(path, data.y, data.labels, config.labels)
    asked = config.unseen_people is not None or config.unseen_count > 0
    if test is not None and not asked:
        return Source(data, spans, None, test)
    if test is not None:
        raise DataError(f"{path}: has x_test already: remove it, or unseen_people and unseen_count")
    if len(np.unique(data.owner)) > 1 or asked:
        held_out = _held_out(config, data.owner, seed)
    else:  # one owner and no test set: unseen samples, since there can be no unseen people
        held_out = rng(seed, "unseen").random(len(data)) < config.test_fraction
    unseen = np.flatnonzero(held_out)
    pool = np.flatnonzero(~spans.touching(unseen))
    return Source(data.take(pool), spans.take(pool), None, data.take(unseen))


def unseen_people(config: DataConfig, owners: Sequence[int], seed: int) -> list[int]:
    """Who takes no part: those that the settings name, or as many as they say, drawn by the seed.

    Args:
        config: the data settings.
        owners: everybody, ascending.
        seed: of the run.

    Raises:
        DataError: somebody who is not there is named, or nobody would be held out, or nobody kept.

    >>> everybody = [1, 2, 3, 4, 5]
    >>> unseen_people(DataConfig(), everybody, seed=0)
    [4, 5]
    >>> [unseen_people(DataConfig(unseen_count=2), everybody, seed) for seed in (0, 1)]
    [[1, 2], [1, 5]]
    """
    if config.unseen_count >= len(owners):
        raise DataError(
            f"unseen_count = {config.unseen_count} must keep at least one of {list(owners)}"
        )
    if config.unseen_count:
        drawn = rng(seed, "unseen people").choice(owners, config.unseen_count, replace=False)
        return sorted(drawn.tolist())
    people = list(owners[-2:] if config.unseen_people is None else config.unseen_people)
    unknown = sorted(set(people) - set(owners))
    if unknown:
        raise DataError(f"unseen_people {unknown} are not in the data, which has {list(owners)}")
    if not people or len(set(people)) == len(owners):
        raise DataError(
            f"unseen_people = {people} must leave out at least one of {list(owners)} and keep at "
            "least one"
        )
    return people


def _held_out(config: DataConfig, owner: NDArray[np.int64], seed: int) -> NDArray[np.bool_]:
    """Which rows belong to the people who take no part."""
    people = unseen_people(config, np.unique(owner).tolist(), seed)
    held_out: NDArray[np.bool_] = np.isin(owner, people)
    return held_out


def _path(config: DataConfig) -> Path:
    assert config.path is not None  # DataConfig sees to it
    return config.path.expanduser()


def _published(config: DataConfig) -> Source:
    """A data set that brings its own test set, whose samples are the unseen ones."""
    path, labels = _path(config), config.labels
    as_they_are = labels == LabelMap()
    data, test = PUBLISHED[config.source](path, config.label_names if as_they_are else ())
    if not as_they_are:
        data, test = _mapped(path, data, test, config)
    check_all_occur(path, data.y, data.labels, labels)
    return Source(data, Spans.separate(len(data)), None, test)


def _mapped(
    path: Path, data: Dataset, test: Dataset, config: DataConfig
) -> tuple[Dataset, Dataset]:
    """Samples whose classes are still the labels of a file; the training labels name them all."""
    labels = config.labels
    classes = [labels.classes(path, "the labels", part.y) for part in (data, test)]
    names = config.label_names or labels.names(path, "the labels", classes[0])
    for one in classes:
        check_range(path, "the labels", one, len(names), labels)
    return replace(data, y=classes[0], labels=names), replace(test, y=classes[1], labels=names)
