"""What a run was begun with, kept in its folder, and seen to be the same later.

``run.json`` is written before the first round. Whoever goes on with the run (resume, export,
report) compares; a difference is a refusal that names it, and :class:`Part` what may be accepted.
"""

from __future__ import annotations

import json
import socket
import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter, ValidationError

import fedtiny
from fedtiny import config as run_config
from fedtiny.config import RunConfig
from fedtiny.data import shares
from fedtiny.data.errors import DataError
from fedtiny.errors import FedTinyError
from fedtiny.runs import atomic, code
from fedtiny.runs.fields import complaint
from fedtiny.runs.folder import RunFolder
from fedtiny.text_files import TextFileError, read_json

FORMAT = 1

_CATALOG = "devices.catalog"


class IdentityError(FedTinyError):
    """A run folder is not what it was; the message says in what, and how to go on."""


class Part(StrEnum):
    """What can have changed since a run was begun."""

    CODE = "code"
    """FedTiny's, or a module or catalogue of one's own."""
    DATA = "data"
    """Any sample, or who holds it."""
    CONFIG = "config"
    """Any setting but the places of files."""
    MODEL = "model"
    """model.safetensors, which the run left."""


@dataclass(frozen=True, slots=True)
class Own:
    """A file of the user's that a config names.

    Attributes:
        name: as the config has it.
        path: absolute.
        sha256: of the file, or of a package's sources.
    """

    name: str
    path: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Identity:
    """One run's.

    Attributes:
        format: of the file.
        name, seed, backend: of the run.
        fedtiny, commit: version of the code; no commit outside a checkout.
        code: digest of the sources by package.
        config: digest of the settings, places of files aside.
        data: digest of all samples; empty where a server cannot know it.
        data_path: absolute; empty if the package brings the data.
        own: files of the user's, by config key.
        started, host: when and where.
        model: digest of ``model.safetensors`` as the run left it; empty while there is none.
        accepted: sentences about what was accepted to be different when the run was resumed.
    """

    format: int
    name: str
    seed: int
    backend: str
    fedtiny: str
    commit: str
    code: Mapping[str, str]
    config: str
    data: str
    data_path: str
    own: Mapping[str, Own]
    started: str
    host: str
    model: str = ""
    accepted: tuple[str, ...] = ()

    @classmethod
    def of(cls, config: RunConfig, data: str, backend: str, commit: str = "") -> Self:
        """That of a run which begins now.

        Args:
            config: with absolute paths.
            data: digest of all samples.
            backend: where clients run.
            commit: of the checkout, if it is one.
        """
        return cls(
            format=FORMAT,
            name=config.name,
            seed=config.seed,
            backend=backend,
            fedtiny=fedtiny.__version__,
            commit=commit,
            code=code.digests(),
            config=run_config.digest(config),
            data=data,
            data_path=str(config.data.path or ""),
            own=_own(config),
            started=datetime.now(UTC).isoformat(timespec="seconds"),
            host=socket.gethostname(),
        )

    @property
    def version(self) -> str:
        """Of the code, for people."""
        return f"FedTiny {self.fedtiny}" + (f", {self.commit}" if self.commit else "")

    def save(self, folder: RunFolder) -> None:
        """Write ``run.json``."""
        text = json.dumps(asdict(self), indent=2, sort_keys=True, ensure_ascii=False)
        atomic.write(folder.identity, text + "\n")


_IDENTITY = TypeAdapter(Identity)


def load(folder: RunFolder) -> Identity | None:
    """What ``run.json`` says; ``None`` if there is none: a server of real devices leaves none.

    Raises:
        IdentityError: it is damaged.
    """
    if not folder.identity.is_file():
        return None
    try:
        found = read_json(folder.identity)
        if isinstance(found, dict) and found.get("format", FORMAT) != FORMAT:
            raise IdentityError(f"{folder.identity}: of another FedTiny; use the run's own")
        return _IDENTITY.validate_python(found)
    except TextFileError as error:
        raise IdentityError(f"{error}; restore it") from error
    except ValidationError as error:
        raise IdentityError(
            f"{folder.identity}: damaged ({complaint(error)}); restore it"
        ) from error


def begin(folder: RunFolder, now: Identity, resume: bool, accept: Collection[Part] = ()) -> None:
    """Record what a run begins with, or see that what it goes on with is the same.

    Args:
        folder: of the run.
        now: what there is now.
        resume: the run goes on.
        accept: what may differ; it is the run's from now on, and the record says so. Never the
            config: the checkpoints are of the one they were written under.

    Raises:
        IdentityError: something else differs, or the run has no record.
    """
    recorded = load(folder) if resume else None
    if recorded is None:
        if resume and any(folder.checkpoints.glob("*.safetensors")):
            raise IdentityError(
                f"{folder.path} has no run.json: an older FedTiny began the run, or the file was "
                "lost. Restore it, or start a new run under another name"
            )
        now.save(folder)
        return
    found = differences(folder, recorded, now)
    if Part.CONFIG in found:
        raise IdentityError(
            f"{folder.path} is not what it was: {found[Part.CONFIG]}, and rounds of two configs "
            f"are no run, whatever --accept says. Restore {folder.config.name}, or start a new run "
            "with the other settings"
        )
    _refuse(folder, found, accept)
    if found:
        notes = (*recorded.accepted, *found.values())
        replace(now, started=recorded.started, model=recorded.model, accepted=notes).save(folder)


def verify(folder: RunFolder, accept: Collection[Part] = (), data: str = "") -> Identity | None:
    """See that a folder's config, model, code and data are those of its run.

    Args:
        folder: of the run.
        accept: what may differ.
        data: digest of the samples that are about to be used; empty if none are.

    Returns:
        What is recorded, if anything.

    Raises:
        IdentityError: something else differs.
    """
    recorded = load(folder)
    if recorded is not None:
        now = Identity.of(folder.load_config(), data or recorded.data, recorded.backend)
        _refuse(folder, differences(folder, recorded, now), accept)
    return recorded


def seal(folder: RunFolder) -> None:
    """Record the model that the run left, once."""
    recorded = load(folder)
    if recorded is not None and not recorded.model and folder.model.is_file():
        replace(recorded, model=code.of_file(folder.model)).save(folder)


def dealt(folder: RunFolder) -> str:
    """Digest of what the run's own shares were dealt from; empty if it keeps none."""
    path = shares.server_file(folder.data)
    if not path.is_file():
        return ""
    try:
        origin = shares.origin_of(shares.read(path))
    except DataError:
        return f"damaged: {path}"
    return "" if origin is None else origin.source


def make_importable(folder: RunFolder) -> None:
    """Let a run's own modules be found from wherever it is resumed."""
    recorded = load(folder)
    for key, own in recorded.own.items() if recorded else ():
        if key != _CATALOG and code.module_file(own.name) is None:
            sys.path.append(str(code.root_of(own.name, Path(own.path))))


def differences(folder: RunFolder, recorded: Identity, now: Identity) -> dict[Part, str]:
    """A sentence for each part that is not what it was."""
    found = {}
    if text := _code(recorded, now):
        found[Part.CODE] = text
    if now.data != recorded.data:
        found[Part.DATA] = (
            f"the samples are others than those it was begun with (digest {now.data[:12]}, was "
            f"{recorded.data[:12]}; they lay at {recorded.data_path or 'the package'})"
        )
    if now.config != recorded.config:
        found[Part.CONFIG] = (
            f"{folder.config.name} says other settings than it was begun with: it was edited, or "
            "this version of FedTiny has more"
        )
    if recorded.model and folder.model.is_file() and code.of_file(folder.model) != recorded.model:
        found[Part.MODEL] = f"{folder.model.name} is not the one that the run left"
    return found


def _code(recorded: Identity, now: Identity) -> str:
    both = recorded.code.keys() & now.code.keys()
    changed = sorted(name for name in both if recorded.code[name] != now.code[name])
    theirs = [
        f"{key} ({own.path})"
        for key, own in sorted(recorded.own.items())
        if key in now.own and now.own[key].sha256 != own.sha256
    ]
    if not changed and not theirs:
        return ""
    what = ", ".join([*(f"{name}/" for name in changed), *theirs])
    return f"the code changed since it was begun with {recorded.version}: {what}"


def _refuse(folder: RunFolder, found: Mapping[Part, str], accept: Collection[Part]) -> None:
    refused = [part for part in found if part not in accept]
    if refused:
        flags = " ".join(f"--accept {part}" for part in refused)
        raise IdentityError(
            f"{folder.path} is not what it was: {'; '.join(found[part] for part in refused)}. "
            f"Restore that, or say {flags} if the results may be of both"
        )


def _own(config: RunConfig) -> dict[str, Own]:
    found = {}
    for key, name in (
        ("model.module", config.model.module),
        ("model.torch", config.model.torch.partition(":")[0]),
        ("pruning.module", config.pruning.module),
    ):
        path = code.module_file(name) if name else None
        if path is not None:
            digest = code.of_folder(path) if path.is_dir() else code.of_file(path)
            found[key] = Own(name, str(path), digest)
    catalog = Path(config.devices.catalog).absolute() if config.devices.catalog else None
    if catalog is not None and catalog.is_file():
        found[_CATALOG] = Own(catalog.name, str(catalog), code.of_file(catalog))
    return found
