"""A safetensors file, read without trusting its header: only bytes that are there become arrays."""

from __future__ import annotations

import json
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fedtiny.errors import FedTinyError

Array = npt.NDArray[Any]

_METADATA = "__metadata__"
_DTYPES = {
    **{f"F{bits}": f"<f{bits // 8}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"<i{bits // 8}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"<u{bits // 8}" for bits in (8, 16, 32, 64)},
    "BOOL": "?",
}


class CheckpointError(FedTinyError):
    """A file cannot be used; the message says which, why, and what to do."""


def parse(path: Path, raw: bytes) -> tuple[dict[str, Array], dict[str, str]]:
    """(arrays, metadata): eight bytes say how long the JSON is that says where which array lies.

    Args:
        path: of the file, for messages.
        raw: its content.

    Raises:
        CheckpointError: it is not such a file, is cut off, or arrays overlap or leave gaps.
    """
    size = int.from_bytes(raw[:8], "little")
    if len(raw) < 8 + size:
        raise CheckpointError(f"{path}: not a safetensors file, or cut off")
    try:
        header = json.loads(raw[8 : 8 + size].decode())
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"its header is no JSON: {error!s:.200}") from error
    if not isinstance(header, dict):
        raise _damaged(path, "its header is no JSON object")
    metadata = header.pop(_METADATA, {})
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise _damaged(path, "its metadata is not text by name")
    data = memoryview(raw)[8 + size :]
    arrays, spans = {}, []
    for name, entry in header.items():
        arrays[name], span = _array(path, name, entry, data)
        spans.append(span)
    _check_spans(path, sorted(spans), len(data))
    return arrays, metadata


def _array(path: Path, name: str, entry: object, data: memoryview) -> tuple[Array, tuple[int, int]]:
    match entry:
        case {
            "dtype": str(kind),
            "shape": list(shape),
            "data_offsets": [int(first), int(end)],
        } if kind in _DTYPES and all(type(side) is int and 0 <= side < 2**40 for side in shape):
            dtype = np.dtype(_DTYPES[kind])
            if 0 <= first <= end <= len(data) and end - first == prod(shape) * dtype.itemsize:
                flat = np.frombuffer(data[first:end], dtype)
                return flat.reshape(shape).copy(), (first, end)
    raise _damaged(path, f"array {name!a:.80} does not fit the file: {entry!s:.120}")


def _check_spans(path: Path, spans: list[tuple[int, int]], size: int) -> None:
    at = 0
    for first, end in spans:
        if first != at:
            raise _damaged(path, "its arrays overlap or leave gaps")
        at = end
    if at != size:
        raise _damaged(path, "its arrays do not fill it")


def _damaged(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f"{path}: not a safetensors file, or damaged: {reason}")
