"""Results as CSV: a row per run, on disk as soon as the run ends; read back, every value checked.

A kind of row is a frozen dataclass: its fields are the columns, their types and ranges are what
cells may hold, ``None`` is an empty cell, and ``key`` is what a file has one row of.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from pydantic import TypeAdapter, ValidationError

from fedtiny.errors import FedTinyError
from fedtiny.runs.fields import complaint
from fedtiny.text_files import read_text


class RowError(FedTinyError):
    """A CSV of results, or the run that a row is made of, is not what it should be."""


class Row(Protocol):
    """One run."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> tuple[str | float, ...]:
        """What a file has one row of."""
        ...


AnyRow = TypeVar("AnyRow", bound=Row)


def columns(kind: type[Row]) -> tuple[str, ...]:
    """The header of a file of such rows."""
    return tuple(field.name for field in fields(kind))


def read(path: Path, kind: type[AnyRow]) -> list[AnyRow]:
    """Rows in file order; none if there is no file. A last line cut off by a crash is left out.

    Raises:
        RowError: other columns, a value of the wrong type, or a run twice; names the line.
    """
    return parse(path, read_text(path), kind) if path.is_file() else []


def parse(path: Path, text: str, kind: type[AnyRow]) -> list[AnyRow]:
    """:func:`read` of a text that was read already; ``path`` is for messages."""
    whole, header = text[: text.rfind("\n") + 1], columns(kind)
    table = csv.reader(io.StringIO(whole, newline=""))
    rows: dict[tuple[str | float, ...], AnyRow] = {}
    try:
        if (found := next(table, None)) is not None and tuple(found) != header:
            raise RowError(f"{path}: expected the columns {','.join(header)}")
        for cells in table:
            row = _row(kind, dict(zip(header, cells, strict=True)))
            if row.key in rows:
                raise ValueError(f"{row.key} is there already; delete one")
            rows[row.key] = row
    except ValidationError as error:
        raise RowError(f"{path}, line {table.line_num}: {complaint(error)}") from None
    except (ValueError, csv.Error) as error:
        raise RowError(f"{path}, line {table.line_num}: {error}") from error
    return list(rows.values())


def write(path: Path, kind: type[AnyRow], rows: Iterable[AnyRow]) -> None:
    """Replace the file by ``rows``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(_lines([columns(kind), *map(_cells, rows)]), encoding="utf-8")
    partial.replace(path)


def append(path: Path, row: Row) -> None:
    """Add a row, on disk when this returns; ``path`` was made by :func:`write`."""
    with path.open("a", encoding="utf-8") as file:
        file.write(_lines([_cells(row)]))


_adapter = cache(TypeAdapter)


def _row(kind: type[AnyRow], cells: Mapping[str, str]) -> AnyRow:
    texts = {field.name for field in fields(kind) if field.type == "str"}
    values = {name: cell if cell or name in texts else None for name, cell in cells.items()}
    row: AnyRow = _adapter(kind).validate_python(values)
    return row


def _cells(row: Row) -> list[str]:
    return ["" if value is None else str(value) for value in asdict(row).values()]


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
