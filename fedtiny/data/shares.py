"""The files of a dealt federation: one for each device and one for the server.

=================== ==============================================================================
``server.npz``      ``x_public``, ``y_public``, ``owner_public`` and ``x_unseen``, …
``share-00003.npz`` ``x_train``, …, ``x_development``, …, ``x_test``, …: what partition 3 holds
=================== ==============================================================================

The arrays are those of :mod:`fedtiny.data.npz`, as are ``labels``, ``channels``, ``units`` and
``scale`` beside them. ``origin`` says which deal a file comes from; a file that somebody wrote by
hand has none, and is taken as it is.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from fedtiny.data.config import DataConfig
from fedtiny.data.dataset import Dataset
from fedtiny.data.errors import DataError, bad_file
from fedtiny.data.npz import kind_of, labelled
from fedtiny.data.npz_file import Arrays, npz_bytes, read_arrays

SERVER = "server"
"""Who holds the server's file."""

_FORMAT = 1  # of the files, and of how samples are dealt
_ORIGIN = "origin"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which deal a file comes from.

    Attributes:
        holder: whose file it is.
        settings: digest of the data settings and the seed, but for where the source lies.
        source: digest of everything that was dealt.
    """

    holder: str
    settings: str
    source: str


def device(partition: int) -> str:
    """The holder of a device's file."""
    return f"partition {partition}"


def server_file(folder: Path) -> Path:
    """Where the server's samples lie in a folder of shares."""
    return folder / "server.npz"


def client_file(folder: Path, partition: int) -> Path:
    """Where one device's samples lie in a folder of shares.

    >>> client_file(Path("data"), 3).as_posix()
    'data/share-00003.npz'
    """
    return folder / f"share-{partition:05d}.npz"


def is_share(path: Path) -> bool:
    """Whether a file has the name of one that was dealt."""
    return (
        path == server_file(path.parent) or re.fullmatch(r"share-\d{5}\.npz", path.name) is not None
    )


def shares_folder(run_config: Mapping[str, Any]) -> Path:
    """The folder of shares that Flower's run config names: ``data``, else ``data`` in ``out``.

    Raises:
        DataError: both are empty.
    """
    data, out = (str(run_config.get(key, "")) for key in ("data", "out"))
    if not data and not out:
        raise DataError("run config 'data' is empty: give the folder of shares, an absolute path")
    return Path(data) if data else Path(out) / "data"


def settings_digest(config: DataConfig, seed: int) -> str:
    """The same for equal settings and seeds, wherever the source lies."""
    text = config.model_dump_json(exclude={"path"})
    return hashlib.sha256(f"{_FORMAT}/{seed}/{text}".encode()).hexdigest()


def write(path: Path, views: Mapping[str, Dataset], origin: Origin, on_disk: bool = True) -> None:
    """Write ``path``, equal samples to equal bytes; a crash leaves the old or the new file whole.

    Args:
        path: ends in ``.npz``.
        views: by name, at least one, all with the same labels and sensor.
        origin: of the samples.
        on_disk: wait until the disk has it, so that this is true of a crash of the system, too.
            Where thousands of files are written that whoever reads them can have made again, it
            takes most of the time.
    """
    first = next(iter(views.values()))
    arrays: Arrays = {
        "labels": np.array(first.labels),
        "channels": np.array(first.sensor.channels),
        "units": np.array(first.sensor.units),
        "scale": np.array(first.sensor.scale),
        _ORIGIN: np.array([origin.holder, origin.settings, origin.source]),
    }
    for name, view in views.items():
        arrays |= {f"x_{name}": view.x, f"y_{name}": view.y, f"owner_{name}": view.owner}
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with part.open("wb") as file:
        file.write(npz_bytes(arrays))
        if on_disk:
            file.flush()
            os.fsync(file.fileno())
    part.replace(path)


def read(path: Path) -> Arrays:
    """Every array of a file, which need not be of a deal.

    Raises:
        DataError: there is no such file, and how to make it; or it is damaged.
    """
    if not path.exists():
        raise bad_file(
            path,
            "no such file; a device of its own names its data with --node-config "
            "'data=\"FILE.npz\"', and a simulation's samples are dealt with: "
            f"fedtiny deal CONFIG.toml --out {path.parent}",
        )
    return read_arrays(path, ())


def views(
    path: Path, arrays: Arrays, names: tuple[str, ...], label_names: tuple[str, ...]
) -> dict[str, Dataset]:
    """The named views in ``arrays``, which ``path`` holds.

    Raises:
        DataError: one is missing or malformed, or their samples differ in shape.
    """
    missing = [name for view in names for name in (f"x_{view}", f"y_{view}") if name not in arrays]
    if missing:
        raise bad_file(path, f"no array named {', '.join(missing)}; found {', '.join(arrays)}")
    kind = kind_of(path, arrays, f"_{names[0]}", label_names)
    return {name: labelled(path, arrays, f"_{name}", kind) for name in names}


def origin_of(arrays: Arrays) -> Origin | None:
    """Which deal a file's arrays come from; ``None`` if from none."""
    if _ORIGIN not in arrays or arrays[_ORIGIN].shape != (3,):
        return None
    return Origin(*(str(one) for one in arrays[_ORIGIN]))


def check_origin(path: Path, arrays: Arrays, holder: str, config: DataConfig, seed: int) -> None:
    """See that a dealt file is this holder's, of this run.

    Raises:
        DataError: it is not.
    """
    origin = origin_of(arrays)
    if origin is None:
        return
    if origin.holder != holder:
        raise bad_file(path, f"holds the samples of {origin.holder}, not of {holder}")
    if origin.settings != settings_digest(config, seed):
        raise bad_file(
            path,
            "was dealt with other data settings or another seed; deal again with: "
            f"fedtiny deal CONFIG.toml --out {path.parent}",
        )
