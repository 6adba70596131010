"""Nodes as JSON objects and back, driven by the fields of each op's dataclass."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from functools import cache
from typing import Any, get_type_hints

from fedtiny.models.ops import OPS, Node
from fedtiny.models.ops.activation import Activation
from fedtiny.models.ops.tensor import GraphError, Padding, Pair

Object = Mapping[str, object]
"""A JSON object."""

_NAMES = {op: name for name, op in OPS.items()}


def encode(node: Node) -> dict[str, Any]:
    """A JSON-able object: ``op``, then every field under its own name.

    A field that is younger than files that exist is left out where it has its default, so that
    one graph has one text whatever wrote it.
    """
    values = {field.name: getattr(node, field.name) for field in fields(node) if _told(field, node)}
    return {"op": _NAMES[type(node)], **values}


def _told(field: Field[Any], node: Node) -> bool:
    return not field.metadata or getattr(node, field.name) != field.default


def decode(data: object) -> Node:
    """The inverse of :func:`encode`; absent fields that have a default take it.

    Raises:
        GraphError: no such op, an unknown or missing field, or a value of another type.
    """
    given = dict(mapping(data, "a node"))
    label = str(given.get("name"))[:80]
    kind = text(given.pop("op", ""), f"node {label!r}: op")
    if kind not in OPS:
        raise GraphError(f"node {label!r}: unknown op; known: {', '.join(OPS)}")
    op, readers = OPS[kind], _readers(kind)
    for name in given.keys() - readers.keys():
        raise GraphError(f"node {label!r} has an unknown field {name!r}")
    for field in fields(op):
        if field.default is MISSING and field.name not in given:
            raise GraphError(f"node {label!r} lacks its {field.name!r}")
    return op(**{k: readers[k](v, f"node {label!r}: {k}") for k, v in given.items()})


def mapping(value: object, what: str) -> Object:
    """``value`` if it is a JSON object, else GraphError naming ``what``."""
    if not isinstance(value, dict):
        raise GraphError(f"{what} must be an object, not {value!r:.80}")
    return value


def items(value: object, what: str) -> list[object]:
    """``value`` if it is a JSON array, else GraphError naming ``what``."""
    if not isinstance(value, list):
        raise GraphError(f"{what} must be a list, not {value!r:.80}")
    return value


def text(value: object, what: str) -> str:
    """``value`` if it is a string, else GraphError naming ``what``."""
    if not isinstance(value, str):
        raise GraphError(f"{what} must be a string, not {value!r:.80}")
    return value


def integer(value: object, what: str) -> int:
    """``value`` if it is an integer that fits 32 bits, else GraphError naming ``what``."""
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**31:
        raise GraphError(f"{what} must be an integer of 32 bits, not {value!r:.80}")
    return value


def _flag(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise GraphError(f"{what} must be true or false, not {value!r:.80}")
    return value


def _texts(value: object, what: str) -> tuple[str, ...]:
    return tuple(text(one, what) for one in items(value, what))


def _pair(value: object, what: str) -> Pair:
    numbers = items(value, what)
    if len(numbers) != 2:
        raise GraphError(f"{what} must be two integers, not {value!r:.80}")
    return (integer(numbers[0], what), integer(numbers[1], what))


def _padding(value: object, what: str) -> Padding:
    numbers = [integer(number, what) for number in items(value, what)]
    match numbers:
        case [height, width]:
            return (height, width)
        case [top, bottom, left, right]:
            return (top, bottom, left, right)
    raise GraphError(f"{what} must be two or four integers, not {value!r:.80}")


def _optional_pair(value: object, what: str) -> Pair | None:
    return None if value is None else _pair(value, what)


def _activation(value: object, what: str) -> Activation:
    if value not in list(Activation):
        raise GraphError(f"{what} must be one of {', '.join(Activation)}, not {value!r:.80}")
    return Activation(text(value, what))


_READERS: dict[object, Callable[[object, str], Any]] = {
    str: text,
    int: integer,
    bool: _flag,
    tuple[str, ...]: _texts,
    Pair: _pair,
    Padding: _padding,
    Pair | None: _optional_pair,
    Activation: _activation,
}
"""By a field's type."""


@cache
def _readers(op: str) -> dict[str, Callable[[object, str], Any]]:
    hints = get_type_hints(OPS[op])
    return {field.name: _READERS[hints[field.name]] for field in fields(OPS[op])}
