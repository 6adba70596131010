"""Tables from op to entry: what one pass (quantization, emission, …) does with each type of node.

A pass that cannot take an op says so in its table, with the reason; a test asks every table about
every op, so that none is forgotten.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

from fedtiny.errors import FedTinyError

Entry = TypeVar("Entry")


class UnsupportedOpError(FedTinyError):
    """A pass refuses an op; the message names the node and says why."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """In place of an entry: why a pass cannot take the op."""

    reason: str


@dataclass(frozen=True, slots=True)
class OpTable(Generic[Entry]):
    """One pass's entry for each type of node.

    Attributes:
        name: of the pass, for messages.
        entries: by type of node.

    >>> table = OpTable("test", {int: "whole", float: Refusal("it would be rounded")})
    >>> table.entry(int, "one"), sorted(t.__name__ for t in table.missing([int, float, str]))
    ('whole', ['str'])
    >>> table.entry(float, "half")
    Traceback (most recent call last):
    fedtiny.models.op_table.UnsupportedOpError: test refuses 'half' (float): it would be rounded
    """

    name: str
    entries: Mapping[type, Entry | Refusal]

    def entry(self, op: type, node: str) -> Entry:
        """The entry for ``op``.

        Raises:
            UnsupportedOpError: it is a refusal, or there is none; ``node`` is named.
        """
        found = self.entries.get(op, Refusal("nobody has taught it this op"))
        if isinstance(found, Refusal):
            raise UnsupportedOpError(
                f"{self.name} refuses {node!r} ({op.__name__}): {found.reason}"
            )
        return found

    def missing(self, ops: Iterable[type]) -> set[type]:
        """Those of ``ops`` that the table says nothing about."""
        return set(ops) - self.entries.keys()
