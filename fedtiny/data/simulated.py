"""Deals a source to the devices and the server of a simulation: a function of (config, seed).

Only who owns all data may import this: the simulator, and tools that it alone runs. Devices and
servers read the files that :func:`deal_into` leaves, each its own.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Self

import numpy as np

from fedtiny.data import partition, shares
from fedtiny.data.client import ClientData, ViewRows, view_rows
from fedtiny.data.config import DataConfig
from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.npz_file import read_arrays
from fedtiny.data.server import ServerData
from fedtiny.data.shares import Origin
from fedtiny.data.sources import Source, read_source
from fedtiny.data.spans import Rows, Spans
from fedtiny.seeding import rng

_FEW = 16


@dataclass(frozen=True)
class Federation:
    """Everyone's samples.

    Attributes:
        clients: one per partition, in partition order.
        server: what is on no device.
        digest: of the source that was dealt.
    """

    clients: tuple[ClientData, ...]
    server: ServerData
    digest: str


@dataclass(frozen=True, slots=True)
class Summary:
    """How many samples there are of what shape: all that plans and forecasts need.

    Attributes:
        train, development, test: samples in that view, by partition.
        public, unseen: samples of the server.
        input_shape: (C, H, W) of one sample.
        classes: how many.
        few: some of the public samples, for rehearsals; labels and sensor are those of all.
    """

    train: tuple[int, ...]
    development: tuple[int, ...]
    test: tuple[int, ...]
    public: int
    unseen: int
    input_shape: tuple[int, int, int]
    classes: int
    few: Dataset = field(compare=False)


def deal(config: DataConfig, seed: int) -> Federation:
    """Everyone's samples at once.

    Watch: each recording is cut in time first and its end becomes test windows of that person;
    no reading of a client lies in two of its train, development and test views, nor in `public`.
    Windows dropped for that are in no view. Other sources: the test view is a draw, stratified
    by class, from the client's own share.

    Args:
        config: the data settings.
        seed: the run's seed.

    Raises:
        DataError: a file is missing or malformed, or the settings cannot be met.

    >>> federation = deal(DataConfig(), seed=0)
    >>> len(federation.clients), len(federation.server.public), federation.server.input_shape
    (8, 35, (6, 1, 128))
    """
    source = read_source(config, seed)
    dealing = _Dealing.of(source, config, seed)
    return Federation(tuple(dealing.clients()), dealing.server, _digest(source))


@lru_cache(maxsize=16)
def summarize(config: DataConfig, seed: int) -> Summary:
    """The counts of :func:`deal`, which is forgotten; raises what it raises. Cached.

    >>> summarize(DataConfig(), seed=0).public
    35
    """
    dealing = _Dealing.of(read_source(config, seed), config, seed)
    views = list(dealing.views())
    drawn = [len(rows.test) for rows in views]
    test = [n if t is None else len(t) for n, t in zip(drawn, dealing.tests, strict=True)]
    server = dealing.server
    return Summary(
        tuple(len(rows.train) for rows in views),
        tuple(len(rows.development) for rows in views),
        tuple(test),
        len(server.public),
        len(server.unseen),
        server.input_shape,
        len(server.labels),
        server.public.take(np.arange(min(_FEW, len(server.public)))),
    )


def deal_into(
    folder: Path,
    config: DataConfig,
    seed: int,
    approve: Callable[[str], object] = str,
) -> bool:
    """Write everyone's own file (:mod:`fedtiny.data.shares`) into ``folder``.

    Files that are whole and of this very deal are left alone, any others replaced: also those that
    a system that crashed while they were written left behind.

    Args:
        folder: made if need be.
        config: the data settings.
        seed: the run's seed.
        approve: is called with the digest of the source before anything is written, and may
            raise; by default any will do.

    Returns:
        Whether anything had to be written.

    Raises:
        DataError: as :func:`deal`.
    """
    source = read_source(config, seed)
    settings, content = shares.settings_digest(config, seed), _digest(source)
    approve(content)
    dealing = _Dealing.of(source, config, seed)
    devices = [shares.device(k) for k in range(config.partitions)]
    origins = [Origin(holder, settings, content) for holder in (*devices, shares.SERVER)]
    files = [shares.client_file(folder, k) for k in range(config.partitions)]
    files.append(shares.server_file(folder))
    if all(_is(path, origin) for path, origin in zip(files, origins, strict=True)):
        return False
    holdings = chain(dealing.clients(), [dealing.server])
    for path, origin, held in zip(files, origins, holdings, strict=True):
        shares.write(path, vars(held), origin, on_disk=False)
    return True


@lru_cache(maxsize=16)
def source_digest(config: DataConfig, seed: int) -> str:
    """Digest of a source as :func:`deal_into` has it; raises what that raises. Cached."""
    return _digest(read_source(config, seed))


def digest_of(folder: Path) -> str:
    """Digest of the source that a folder of shares was dealt from, as :func:`deal_into` has it.

    Raises:
        DataError: the server's file is missing or damaged, or was not dealt.
    """
    path = shares.server_file(folder)
    origin = shares.origin_of(shares.read(path))
    if origin is None:
        raise bad_file(path, "does not say what it was dealt from; deal again")
    return origin.source


def _is(path: Path, origin: Origin) -> bool:
    """Whether a file is whole and comes from this deal."""
    try:
        return shares.origin_of(read_arrays(path, ())) == origin
    except DataError:
        return False


def _digest(source: Source) -> str:
    """Of every sample, and of what decides who gets it."""
    digest = hashlib.sha256()
    for data in (source.pool, source.later, source.unseen):
        if data is None:
            digest.update(b"none")
            continue
        digest.update(repr((data.labels, data.sensor, data.x.shape, data.x.dtype.str)).encode())
        for array in (data.x, data.y, data.owner):
            digest.update(np.ascontiguousarray(array).data)
    digest.update(f"{source.spans.length}".encode())
    for rows in (source.spans.recording, source.spans.start):
        digest.update(np.ascontiguousarray(rows).data)
    return digest.hexdigest()


@dataclass(frozen=True)
class _Dealing:
    """Who gets what, before any client's samples are copied.

    Attributes:
        server: what is on no device.
        pool: what is dealt …
        spans: … and which of it overlaps in time.
        parts: rows of the pool, by partition.
        tests: test samples that are not drawn from the client's own, by partition.
        config, seed: of the deal.
    """

    server: ServerData
    pool: Dataset
    spans: Spans
    parts: list[Rows]
    tests: list[Dataset | None]
    config: DataConfig
    seed: int

    @classmethod
    def of(cls, source: Source, config: DataConfig, seed: int) -> Self:
        """Public samples first, then everybody's rows."""
        public = _public_rows(source.pool, config.public_per_class, rng(seed, "public"))
        kept = np.flatnonzero(~source.spans.touching(public))
        if config.limit is not None and config.limit < len(kept):
            kept = np.sort(rng(seed, "limit").choice(kept, config.limit, replace=False))
        pool, spans = source.pool.take(kept), source.spans.take(kept)
        parts = _deal(pool, config, seed)
        tests = _deal_later(source.later, pool, parts, config, seed)
        server = ServerData(source.pool.take(public), source.unseen)
        return cls(server, pool, spans, parts, tests, config, seed)

    def clients(self) -> Iterator[ClientData]:
        """One after another, in partition order."""
        for rows, test, views in zip(self.parts, self.tests, self.views(), strict=True):
            own = self.pool.take(rows[views.test]) if test is None else test
            train, development = rows[views.train], rows[views.development]
            yield ClientData(self.pool.take(train), self.pool.take(development), own)

    def views(self) -> Iterator[ViewRows]:
        """Which of a client's rows are in which view, one client after another."""
        for k, (rows, test) in enumerate(zip(self.parts, self.tests, strict=True)):
            y, spans = self.pool.y[rows], self.spans.take(rows)
            yield view_rows(y, spans, test is None, self.config, self.seed, k)


def _public_rows(pool: Dataset, per_class: int, generator: np.random.Generator) -> Rows:
    """`per_class` rows of every class, drawn at random over all owners."""
    chosen = []
    for label, name in enumerate(pool.labels):
        rows = np.flatnonzero(pool.y == label)
        if len(rows) < per_class:
            raise DataError(
                f"class {name!r} has {len(rows)} training samples, public_per_class asks for "
                f"{per_class}: lower it or add data"
            )
        chosen.append(generator.choice(rows, per_class, replace=False))
    return np.sort(np.concatenate(chosen))


def _deal(pool: Dataset, config: DataConfig, seed: int) -> list[Rows]:
    generator = rng(seed, "partition")
    match config.partitioner:
        case "natural":
            return partition.natural(pool.owner, config.partitions)
        case "dirichlet":
            return partition.dirichlet(
                pool.y, config.partitions, config.alpha, config.min_samples, generator
            )
        case "shards":
            return partition.shards(pool.y, config.partitions, config.shards_per_client, generator)
        case "iid":
            return partition.iid(len(pool), config.partitions, generator)


def _deal_later(
    later: Dataset | None, pool: Dataset, parts: list[Rows], config: DataConfig, seed: int
) -> list[Dataset | None]:
    """Each client's test windows: its person's own, else in the class mix of its training data."""
    if later is None:
        return [None] * len(parts)
    if config.partitioner == "natural":
        owners = [pool.owner[rows[0]] for rows in parts]
        return [later.take(np.flatnonzero(later.owner == owner)) for owner in owners]
    held = [pool.y[rows] for rows in parts]
    dealt = partition.in_proportion(later.y, held, rng(seed, "test"))
    return [later.take(rows) for rows in dealt]
