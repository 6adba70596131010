"""The ways to run a federation: this process, Ray actors, Flower's own engine."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path

from fedtiny.config import RunConfig, absolute
from fedtiny.data.simulated import deal_into, digest_of
from fedtiny.runs import identity
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.identity import Identity, Part
from sims.code_version import code_version
from sims.grids.local import LocalGrid
from strategies.observer import Observer

CLIENT_APP = "clients.app:app"


class Backend(StrEnum):
    """Where clients run. The results are the same bytes on each."""

    INLINE = "inline"
    """One after another in this process."""
    RAY = "ray"
    """In Ray actors, one per core: of this machine, or of a cluster."""
    FLOWER = "flower"
    """In Flower's own simulation engine, through ``flwr run``."""


def run_federation(
    config: RunConfig,
    folder: RunFolder,
    backend: Backend,
    resume: bool = False,
    observers: Sequence[Observer] = (),
    workers: int = 0,
    shares: Path | None = None,
    accept: Collection[Part] = (),
    ray_address: str = "",
) -> None:
    """Deal the samples, run ``config`` on ``backend`` and leave its results in ``folder``.

    Args:
        config, folder, resume, observers: as for :func:`strategies.app.run`. Flower's engine
            runs in other processes: it neither resumes nor tells observers anything.
        workers: Ray actors; 0 for one per core of the machine or cluster.
        shares: folder with the samples, dealt already; by default they are dealt into the run's.
        accept: what may differ from what a resumed run was begun with.
        ray_address: of a running cluster to join; by default that in ``RAY_ADDRESS``, else Ray is
            started on this machine.

    Raises:
        IdentityError: a resumed run is not what it was.
        FedTinyError: the backend cannot do what was asked, or the run failed.
    """
    silence_flower()
    config = absolute(config)
    folder.create(config)

    def begin(digest: str) -> None:
        now = Identity.of(config, digest, backend, code_version())
        identity.begin(folder, now, resume, accept)

    if shares is None:
        shares = folder.data
        deal_into(shares, config.data, config.seed, begin)
    else:
        begin(digest_of(shares))
    _run(config, folder, shares, backend, resume, observers, workers, ray_address)
    identity.seal(folder)


def _run(
    config: RunConfig,
    folder: RunFolder,
    shares: Path,
    backend: Backend,
    resume: bool,
    observers: Sequence[Observer],
    workers: int,
    ray_address: str,
) -> None:
    if backend is Backend.FLOWER:
        from sims.flower_run import flower_run  # noqa: PLC0415 - Flower and Ray are imported after silence_flower

        flower_run(folder.config, [], folder.path, config.data.partitions, shares=shares)
        return
    from strategies.app import run  # noqa: PLC0415 - Flower and Ray are imported after silence_flower

    with _grid(config, folder, shares, backend, workers, ray_address) as grid:
        run(config, grid, folder, resume, observers, shares)


@contextmanager
def _grid(
    config: RunConfig,
    folder: RunFolder,
    shares: Path,
    backend: Backend,
    workers: int,
    ray_address: str,
) -> Iterator[LocalGrid]:
    settings = {
        "config": str(folder.config.resolve()),
        "overrides": json.dumps([]),
        "out": str(folder.path.resolve()),
        "data": str(shares.resolve()),
    }
    grid: LocalGrid
    if backend is Backend.RAY:
        from sims.grids.ray import RayGrid  # noqa: PLC0415 - Flower and Ray are imported after silence_flower

        actors = workers or None
        grid = RayGrid(CLIENT_APP, config.data.partitions, settings, actors, ray_address)
    else:
        from clients.app import app  # noqa: PLC0415 - Flower and Ray are imported after silence_flower
        from sims.grids.inline import InlineGrid  # noqa: PLC0415 - Flower and Ray are imported after silence_flower

        grid = InlineGrid(app, config.data.partitions, settings)
    try:
        yield grid
    finally:
        grid.close()


def silence_flower() -> None:
    """No telemetry, no update checks, no installations behind the user's back, no chatter."""
    os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
    os.environ.setdefault("FLWR_DISABLE_UPDATE_CHECK", "1")
    os.environ.setdefault("FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION", "1")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler announces itself on stderr
