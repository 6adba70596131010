"""Types of events' fields, checked as they are read."""

from __future__ import annotations

import json
from typing import Annotated

from pydantic import Field, PlainSerializer, PlainValidator, TypeAdapter, ValidationError

from fedtiny.memory.ledger import LedgerEntry

Count = Annotated[int, Field(ge=0, lt=2**53)]
"""A number of things or bytes; JSON readers are exact up to here."""

Share = Annotated[float, Field(ge=0, le=1)]

Nats = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Of a loss."""

Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""Of a simulated clock."""


def complaint(error: ValidationError) -> str:
    """The first complaint, after the field it is about."""
    (first, *_) = error.errors()
    where = ".".join(map(str, first["loc"]))
    return f"{where}: {first['msg']}" if where else str(first["msg"])


def read_ledger(row: object) -> LedgerEntry:
    """The inverse of :meth:`LedgerEntry.to_json`, which writes the step's fields as its own."""
    if not isinstance(row, dict):
        raise ValueError("should be an object")
    names = ("micro_batch", "recompute")
    step = {name: row[name] for name in names if name in row}
    rest = {name: value for name, value in row.items() if name not in names}
    try:
        return _LEDGER.validate_json(json.dumps({**rest, "step": step}), strict=True)
    except ValidationError as error:
        raise ValueError(complaint(error)) from error


_LEDGER = TypeAdapter(LedgerEntry)

Ledger = Annotated[LedgerEntry, PlainValidator(read_ledger), PlainSerializer(LedgerEntry.to_json)]
