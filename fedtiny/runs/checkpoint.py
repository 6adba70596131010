"""Named arrays plus one manifest in a safetensors file: atomic to write, checked when read.

The manifest is the file's only metadata key, one JSON string with sorted keys: safetensors
writes several keys in hash order, and the same run must give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fedtiny.errors import FedTinyError

Array = npt.NDArray[Any]

_MANIFEST = "fedtiny"
_DIGEST = ".sha256"


class CheckpointError(FedTinyError):
    """A file cannot be used; the message says which, why, and what to do."""


def write(path: Path, arrays: Mapping[str, Array], manifest: Mapping[str, Any]) -> None:
    """Write ``path`` and its digest; a crash at any moment leaves the old or the new file whole.

    Args:
        path: ends in ``.safetensors``; its SHA-256 goes to ``{path}.sha256``.
        arrays: by name, of any dtype safetensors knows.
        manifest: JSON-able; nothing of time, host, path or backend, if bytes are to repeat.
    """
    text = json.dumps(manifest, sort_keys=True, separators=(",", ":"))
    contiguous = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    data = save(contiguous, metadata={_MANIFEST: text})
    _replace(path, data)
    _replace(_digest_path(path), f"{hashlib.sha256(data).hexdigest()}  {path.name}\n".encode())


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, manifest) of a file :func:`write` wrote.

    Raises:
        CheckpointError: no such file, not ours, or changed since it was written.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    _check_digest(path)
    try:
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path}: not a safetensors file ({error})") from error
    if _MANIFEST not in metadata:
        raise CheckpointError(f"{path}: was not written by FedTiny (no manifest)")
    return arrays, json.loads(metadata[_MANIFEST])


def _check_digest(path: Path) -> None:
    digest_path = _digest_path(path)
    if not digest_path.is_file():
        return  # a model file passed on alone; safetensors still checks its structure
    recorded = digest_path.read_text(encoding="utf-8").split()[0]
    if hashlib.sha256(path.read_bytes()).hexdigest() != recorded:
        raise CheckpointError(
            f"{path}: does not match its recorded SHA-256; the file is damaged, or "
            f"{digest_path.name} is of another run. Restore both, or delete both to fall back on "
            "the checkpoint before"
        )


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + _DIGEST)


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
