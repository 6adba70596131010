"""The share that a device makes of its own recordings, once for a run.

What a device describes before round 1 is what it trains on to the end, also after a restart of
everything: a sensor may go on recording, rename and delete, and nothing is read or split twice.
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fedtiny.data import shares
from fedtiny.data.client import split_recorded
from fedtiny.data.config import DataConfig
from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import DataError
from fedtiny.data.file_identity import FileIdentity
from fedtiny.data.npz_file import read_arrays
from fedtiny.data.shares import Origin
from fedtiny.data.spool import look

_RUNS = 2  # whose shares are kept
_PRIVATE = 0o700


@dataclass(frozen=True)
class Keeper:
    """Makes a device's shares of its own recordings.

    Attributes:
        recorded: the device's file or folder.
        folder: where shares are kept; only this user may look into it.
        job: name of the run's config.
        config, seed, partition: as for :func:`fedtiny.data.client.load_client`.
    """

    recorded: Path
    folder: Path
    job: str
    config: DataConfig
    seed: int
    partition: int

    @property
    def share(self) -> Path:
        """The share's file."""
        return self.folder / f"{self.job}-{shares.client_file(self.folder, self.partition).name}"

    def make(self) -> int:
        """Keep what is recorded now, unless the share is of just that; files set aside.

        Raises:
            DataError: see :func:`fedtiny.data.client.split_recorded`; or the disk is full.
        """
        holding = look(self.recorded)
        settings = shares.settings_digest(self.config, self.seed)
        origin = Origin(shares.device(self.partition), settings, _digest(holding.files))
        if not self._is(origin):
            data = split_recorded(holding, self.config, self.seed, self.partition)
            self._write(vars(data), origin)
        return len(holding.set_aside)

    def _is(self, origin: Origin) -> bool:
        """Whether a whole share of this origin is kept."""
        try:
            return shares.origin_of(read_arrays(self.share, ())) == origin
        except DataError:
            return False

    def _write(self, views: dict[str, Dataset], origin: Origin) -> None:
        try:
            self.folder.mkdir(mode=_PRIVATE, parents=True, exist_ok=True)
            shares.write(self.share, views, origin)
            for old in self._others()[:-_RUNS]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise DataError(
                f"{self.recorded}: its samples cannot be kept in {self.folder}: {error.strerror}"
            ) from error

    def _others(self) -> list[Path]:
        """Shares of this partition, the one written last at the end."""
        pattern = f"*-{shares.client_file(self.folder, self.partition).name}"
        return sorted(self.folder.glob(pattern), key=lambda path: path.stat().st_mtime_ns)


def _digest(files: Iterable[FileIdentity]) -> str:
    """Of which files they are."""
    digest = hashlib.sha256()
    for one in files:
        digest.update(os.fsencode(f"{one.path}\0{one.size}\0{one.modified_ns}\0"))
    return digest.hexdigest()
