"""How samples are dealt to clients; each function returns a disjoint cover of the rows.

All return one int64 array of ascending row indices per client and take their randomness from the
generator they are given, so equal arguments give equal partitions.
"""

import numpy as np
from numpy.typing import NDArray

from fedtiny.data.errors import DataError

Rows = NDArray[np.int64]
_ATTEMPTS = 1000


def natural(owner: Rows, partitions: int) -> list[Rows]:
    """One client per owner, in ascending order of their ids.

    Raises:
        DataError: there are not exactly `partitions` owners.

    >>> [rows.tolist() for rows in natural(np.array([9, 4, 9]), 2)]
    [[1], [0, 2]]
    """
    owners = np.unique(owner)
    if len(owners) != partitions:
        raise DataError(
            f"the natural partition has one client for each of {len(owners)} owners: "
            f"set partitions = {len(owners)}, not {partitions}"
        )
    return [np.flatnonzero(owner == each) for each in owners]


def iid(count: int, partitions: int, generator: np.random.Generator) -> list[Rows]:
    """Uniformly at random, sizes differ by at most one."""
    _enough(count, partitions, "samples")
    return [np.sort(part) for part in np.array_split(generator.permutation(count), partitions)]


def shards(
    y: Rows, partitions: int, shards_per_client: int, generator: np.random.Generator
) -> list[Rows]:
    """Label-sorted rows, cut into equal shards, dealt at random [McMahan et al. 2017, §3].

    A client with s shards sees few classes (about s when classes are equally frequent). Rows of
    one class are shuffled first, so a shard is not biased by the order of the file.
    """
    total = partitions * shards_per_client
    _enough(len(y), total, "samples for one per shard")
    dealt = generator.permutation(total).reshape(partitions, shards_per_client)
    shuffled = generator.permutation(len(y))
    by_label = shuffled[np.argsort(y[shuffled], kind="stable")]
    pieces = np.array_split(by_label, total)
    return [np.sort(np.concatenate([pieces[i] for i in hand])) for hand in dealt]


def dirichlet(
    y: Rows, partitions: int, alpha: float, min_samples: int, generator: np.random.Generator
) -> list[Rows]:
    """Each class is split among clients by proportions p ~ Dir(α·1) [Hsu et al. 2019; Yurochkin
    et al. 2019, without the balancing that stops clients growing past the mean size].

    The whole draw is repeated until every client has `min_samples` rows.

    Raises:
        DataError: no draw in 1000 gave every client `min_samples` rows.
    """
    _enough(len(y), partitions * min_samples, f"samples for {min_samples} each")
    classes, class_sizes = np.unique(y, return_counts=True)
    for _ in range(_ATTEMPTS):
        shares = generator.dirichlet(np.full(partitions, alpha), size=len(classes))
        cuts = np.floor(np.cumsum(shares, axis=1)[:, :-1] * class_sizes[:, None]).astype(np.int64)
        sizes = np.diff(cuts, axis=1, prepend=0, append=class_sizes[:, None]).sum(axis=0)
        if sizes.min() >= min_samples:
            return _split_classes(y, classes, cuts, generator)
    raise DataError(
        f"no Dirichlet draw with alpha = {alpha} gave each of {partitions} clients {min_samples} "
        f"of {len(y)} samples: raise alpha, or lower min_samples or partitions"
    )


def in_proportion(y: Rows, other_y: list[Rows], generator: np.random.Generator) -> list[Rows]:
    """Deal rows so that each client's class mix follows what it already holds.

    Args:
        y: classes of the rows to deal, (N,).
        other_y: per client, the classes of the samples it holds. A class that nobody holds is
            dealt evenly.

    >>> generator = np.random.default_rng(0)
    >>> held = [np.array([0, 0, 0]), np.array([0, 1])]
    >>> dealt = in_proportion(np.array([0, 0, 0, 0, 1, 1]), held, generator)
    >>> [len(rows) for rows in dealt]
    [3, 3]
    """
    classes, class_sizes = np.unique(y, return_counts=True)
    held = np.array([[np.count_nonzero(mine == label) for mine in other_y] for label in classes])
    weight = np.where(held.any(axis=1, keepdims=True), held, 1)
    share = np.cumsum(weight, axis=1)[:, :-1] * class_sizes[:, None]
    return _split_classes(y, classes, share // weight.sum(axis=1, keepdims=True), generator)


def _split_classes(
    y: Rows, classes: Rows, cuts: Rows, generator: np.random.Generator
) -> list[Rows]:
    """Shuffle the rows of each class and cut them; `cuts` is (classes, clients − 1)."""
    pieces = [
        np.split(generator.permutation(np.flatnonzero(y == label)), class_cuts)
        for label, class_cuts in zip(classes, cuts, strict=True)
    ]
    return [np.sort(np.concatenate(hand)) for hand in zip(*pieces, strict=True)]


def _enough(count: int, needed: int, what: str) -> None:
    if count < needed:
        raise DataError(
            f"{count} samples cannot be dealt: at least {needed} {what} are needed; "
            "use fewer partitions or more data"
        )
