"""Named arrays plus one manifest in a safetensors file: atomic to write, checked when read.

The manifest is the file's only metadata key, one JSON string with sorted keys: safetensors
writes several keys in hash order, and the same run must give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from fedtiny.runs import atomic, tensors
from fedtiny.runs.tensors import Array, CheckpointError

_MANIFEST = "fedtiny"
_DIGEST = ".sha256"


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
    atomic.write(path, data)
    atomic.write(_digest_path(path), f"{hashlib.sha256(data).hexdigest()}  {path.name}\n")


def read(path: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """(arrays, manifest) of a file :func:`write` wrote.

    Raises:
        CheckpointError: no such file, not ours, or changed since it was written.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}") from error
    _check_digest(path, raw)
    arrays, metadata = tensors.parse(path, raw)
    if _MANIFEST not in metadata:
        raise CheckpointError(f"{path}: was not written by FedTiny (no manifest)")
    return arrays, _manifest(path, metadata[_MANIFEST])


def _manifest(path: Path, text: str) -> dict[str, Any]:
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: its manifest is no JSON: {error!s:.200}") from error
    if not isinstance(manifest, dict):
        raise CheckpointError(f"{path}: its manifest is no JSON object")
    return manifest


def recorded_digest(path: Path) -> str:
    """SHA-256 of a checkpoint as it was written with it, hexadecimal; empty if there is none."""
    try:
        words = _digest_path(path).read_text(encoding="utf-8", errors="replace").split()
    except OSError:
        return ""
    return words[0] if words else ""


def _check_digest(path: Path, raw: bytes) -> None:
    digest_path = _digest_path(path)
    if not digest_path.is_file():
        return  # a model file passed on alone; its structure is still checked
    recorded = digest_path.read_bytes().split()[:1]
    if recorded != [hashlib.sha256(raw).hexdigest().encode()]:
        raise CheckpointError(
            f"{path}: does not match its recorded SHA-256; the file is damaged, or "
            f"{digest_path.name} is of another run. Restore both, or delete both to fall back on "
            "the checkpoint before"
        )


def _digest_path(path: Path) -> Path:
    return path.with_name(path.name + _DIGEST)
