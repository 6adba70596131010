"""The job as this device has it: its config, read once, and whether a task belongs to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from fedtiny import config as run_config
from fedtiny.config import RunConfig
from fedtiny.data.file_identity import FileIdentity, identity_of
from fedtiny.errors import FedTinyError

_APP_ROOT = Path(__file__).resolve().parents[1]
_DIGITS = 8


class OtherJobError(FedTinyError):
    """A task of a run whose config is not the one that this device has."""


@dataclass(frozen=True, eq=False)
class Job:
    """What a device was told to take part in; the same object as long as its file is the same.

    Attributes:
        config: of the run.
        name: the run's, see :func:`name_of`.
    """

    config: RunConfig
    name: str


def name_of(config: RunConfig) -> str:
    """A run's name on the wire: the first digits of its config's digest. Every task begins with it.

    >>> name_of(RunConfig()) == name_of(RunConfig(seed=1))
    False
    """
    return run_config.digest(config)[:_DIGITS]


def job_of(settings: Mapping[str, Any]) -> Job:
    """The job that Flower's run config names: a TOML file, relative to the app's folder, and
    overrides. The file is read once, and again only if it is another one by now.

    Raises:
        ConfigError: see :func:`fedtiny.config.load`.
    """
    path = _APP_ROOT / str(settings["config"])
    return _read(path, str(settings["overrides"]), identity_of(path))


@lru_cache(maxsize=8)
def _read(path: Path, overrides: str, _seen: FileIdentity | None) -> Job:
    config = run_config.load(path, json.loads(overrides))
    return Job(config, name_of(config))


def check_task(job: Job, task: str, where: object) -> None:
    """See that a task is of this job.

    Args:
        job: as the device has it.
        task: as the server named it, the run first; empty if it did not.
        where: the device has its config from, for the message.

    Raises:
        OtherJobError: it is of another: with this device's config it would be done otherwise than
            by everybody else.
    """
    run = task.partition(" ")[0]
    if run and run != job.name:
        raise OtherJobError(
            f"the server's config has the digest {run:.16}…, this device's ({where}) {job.name}…: "
            "one of them was edited since the run began, or they are of different versions. Train "
            "with the same: put the file back, or start the run again"
        )
