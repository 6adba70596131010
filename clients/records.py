"""Packets as Flower records and back: the only place that knows both."""

from __future__ import annotations

from collections.abc import Set
from typing import Any

import numpy as np
import numpy.typing as npt
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from flwr.supercore.inflatable.inflatable_object import get_all_nested_objects

from fedtiny.wire.packet import Packet, Scalar, WireError

_ARRAYS = "arrays"
_SCALARS = "scalars"
_TASK = "task"


def to_record(packet: Packet, task: str = "") -> RecordDict:
    """A packet as the content of a Flower message.

    Args:
        packet: what is said.
        task: what it asks, or which it answers: run, phase and round. A device repeats it, so that
            an answer to something else is known as that.
    """
    arrays = {name: Array(np.ascontiguousarray(a)) for name, a in packet.arrays.items()}
    scalars = ConfigRecord({_TASK: task, **packet.scalars} if task else dict(packet.scalars))
    return RecordDict({_ARRAYS: ArrayRecord(arrays), _SCALARS: scalars})


def task_of(record: RecordDict) -> str:
    """The task that :func:`to_record` was given; empty if there is none."""
    scalars = record.get(_SCALARS)
    task = scalars.get(_TASK, "") if isinstance(scalars, ConfigRecord) else ""
    return task if isinstance(task, str) else ""


def to_packet(record: RecordDict, known: Set[str] | None = None) -> Packet:
    """The inverse of :func:`to_record`, the task aside.

    Args:
        record: content of a message.
        known: names it may have; anything goes without it.

    Raises:
        WireError: the record was not made by it, or has other names; then nothing was decoded.
    """
    arrays, scalars = record.get(_ARRAYS), record.get(_SCALARS)
    if not isinstance(arrays, ArrayRecord) or not isinstance(scalars, ConfigRecord):
        raise WireError(f"message holds {', '.join(record) or 'nothing'}, not arrays and scalars")
    odd = set() if known is None else {*arrays, *scalars} - known - {_TASK}
    if odd:
        raise WireError(f"nobody asked for {', '.join(ascii(name)[:40] for name in sorted(odd))}")
    return Packet(
        {name: _array(name, array) for name, array in arrays.items()},
        {name: _scalar(name, value) for name, value in scalars.items() if name != _TASK},
    )


def wire_bytes(record: RecordDict) -> int:
    """Serialized size of a message's content: every object as Flower sends it.

    Flower transfers a message as a tree of content-addressed objects (record, array, chunk), an
    object that occurs twice once. The message's own header (ids, times) is not counted: it
    differs from run to run.
    """
    return sum(len(part.deflate()) for part in get_all_nested_objects(record).values())


def _array(name: str, array: Array) -> npt.NDArray[Any]:
    try:
        loaded = array.numpy()
    except Exception as error:  # numpy's reader raises many kinds on bytes that are no array
        raise WireError(f"{name}: its bytes are no array ({error})") from error
    if not isinstance(loaded, np.ndarray):
        raise WireError(f"{name}: its bytes are an archive, not an array")
    return loaded


def _scalar(name: str, value: object) -> Scalar:
    if isinstance(value, int | float | str):
        return value
    raise WireError(f"{name}: expected a number or string, got {type(value).__name__}")
