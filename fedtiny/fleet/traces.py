"""Traces as plain CSV: what changed when for whom; refused with file, line and remedy.

The first line names the columns. Lines that begin with ``#`` and empty ones are left out. A row
says what holds for one client from a second on; clients are numbered from 0, each begins at second
0, and its seconds ascend. Links: ``client,second,kbps``, or ``client,second,down_kbps,up_kbps``.
Availability: ``client,second,state``, where a state is ``on`` or ``off``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import inf, isfinite

from fedtiny.errors import FedTinyError
from fedtiny.fleet.steps import Steps

MOST_ROWS = 20_000
"""Of a trace: it is part of the config, which every device reads."""

_BITS = 1000.0
_STATES = {"on": 1.0, "off": 0.0}


class TraceError(FedTinyError):
    """A trace cannot be used; the message names file, line and remedy."""


@dataclass(frozen=True, slots=True)
class _Row:
    line: int
    client: int
    second: float
    values: tuple[float, ...]


@lru_cache(maxsize=64)
def read_links(
    text: str, where: str, period_s: float = inf, every_s: float = 0.0
) -> tuple[tuple[Steps, Steps], ...]:
    """The (down, up) rates of every client in a link's trace, bit/s.

    Args:
        text: of the file.
        where: it is from, for messages.
        period_s: after which it repeats.
        every_s: distance that each client's rows must have; 0: any.

    Raises:
        TraceError: see the head of this module; or a link that would never end a transfer.

    >>> ((down, up),) = read_links("client,second,kbps\\n0,0,800\\n0,60,100", "wifi.csv")
    >>> down.time_for(8e6), down == up
    (10.0, True)
    >>> read_links("client,second,kbps\\n0,0,-8", "wifi.csv")
    Traceback (most recent call last):
    ...
    fedtiny.fleet.traces.TraceError: wifi.csv, line 2: kbps is -8; write a rate from 0 on
    """
    columns = (("kbps",), ("down_kbps", "up_kbps"))
    clients = _read(text, where, columns, _rate, period_s, every_s)
    links = []
    for client, rows in clients.items():
        down, up = (_steps(rows, column, period_s, _BITS) for column in (0, -1))
        for rate in (down, up):
            if not any(rate.values):
                raise TraceError(
                    f"{where}, line {rows[-1].line}: client {client}'s rate is never above 0, so "
                    "that no transfer would ever end; give it a rate, or leave the client out"
                )
            if not rate.values[-1] and period_s == inf:
                raise TraceError(
                    f"{where}, line {rows[-1].line}: client {client}'s last rate is 0 and holds "
                    "on, so that no transfer would ever end; end with a rate, or give period_s, "
                    "after which the trace repeats"
                )
        links.append((down, up))
    return tuple(links)


@lru_cache(maxsize=64)
def read_states(
    text: str, where: str, period_s: float = inf, every_s: float = 0.0
) -> tuple[Steps, ...]:
    """When each client of an availability trace is there (1) or not (0).

    Args as of :func:`read_links`.

    Raises:
        TraceError: see the head of this module.
    """
    clients = _read(text, where, (("state",),), _state, period_s, every_s)
    return tuple(_steps(rows, 0, period_s, 1.0) for rows in clients.values())


def _steps(rows: list[_Row], column: int, period_s: float, unit: float) -> Steps:
    seconds = tuple(row.second for row in rows)
    return Steps(seconds, tuple(row.values[column] * unit for row in rows), period_s)


def _read(
    text: str,
    where: str,
    columns: tuple[tuple[str, ...], ...],
    read: Callable[[str, str], float],
    period_s: float,
    every_s: float,
) -> Mapping[int, list[_Row]]:
    """Rows by client, ascending."""
    by_client: dict[int, list[_Row]] = {}
    for row in _rows(text, where, columns, read):
        own = by_client.setdefault(row.client, [])
        _check_clock(row, own[-1] if own else None, where, every_s)
        if row.second >= period_s:
            raise TraceError(
                f"{where}, line {row.line}: second {row.second:g} is not before period_s = "
                f"{period_s:g}, after which the trace repeats; lengthen the period"
            )
        own.append(row)
    missing = sorted(set(range(max(by_client, default=0) + 1)) - by_client.keys())
    if missing:
        raise TraceError(
            f"{where}: nothing is said of client {missing[0]}; clients are numbered from 0 without "
            "gaps: add its rows, or renumber those there are"
        )
    return dict(sorted(by_client.items()))


def _check_clock(row: _Row, before: _Row | None, where: str, every_s: float) -> None:
    at = f"{where}, line {row.line}: "
    if before is None:
        if row.second:
            raise TraceError(
                f"{at}client {row.client} begins at second {row.second:g}, a gap: what was before? "
                "Add its row for second 0"
            )
    elif row.second <= before.second:
        raise TraceError(
            f"{at}client {row.client}'s clock runs backwards, or stands: second {row.second:g} "
            f"after {before.second:g} (line {before.line}); sort its rows, one for each second"
        )
    elif every_s and abs(row.second - before.second - every_s) > 1e-6 * every_s:
        raise TraceError(
            f"{at}client {row.client} has nothing between second {before.second:g} and "
            f"{row.second:g}, a gap: every_s = {every_s:g}; fill it, or set every_s = 0 if rows "
            "are changes and not samples"
        )


def _rows(
    text: str,
    where: str,
    columns: tuple[tuple[str, ...], ...],
    read: Callable[[str, str], float],
) -> Iterator[_Row]:
    lines = [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and not line.lstrip().startswith("#")
    ]
    headings = [("client", "second", *names) for names in columns]
    wanted = " or ".join(repr(",".join(names)) for names in headings)
    found = tuple(_cells(lines[0][1])) if lines else ()
    if found not in headings:
        line = f", line {lines[0][0]}" if lines else ""
        raise TraceError(f"{where}{line}: the first line names the columns, {wanted}")
    if not 1 < len(lines) <= MOST_ROWS + 1:
        raise TraceError(
            f"{where}: has {len(lines) - 1:,} rows, expected 1..{MOST_ROWS:,}; for more clients "
            "than that use fewer, which are dealt in turn, or a seeded generator"
        )
    for number, line in lines[1:]:
        cells = _cells(line)
        if len(cells) != len(found) or "" in cells:
            raise TraceError(
                f"{where}, line {number}: {line[:80]!r} is not {','.join(found)!r}; fill in "
                "what is missing"
            )
        try:
            client, second = _whole(cells[0]), _number(found[1], cells[1], "a time from 0 on")
            values = tuple(read(*pair) for pair in zip(found[2:], cells[2:], strict=True))
        except ValueError as error:
            raise TraceError(f"{where}, line {number}: {error}") from None
        yield _Row(number, client, second, values)


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.split(",")]


def _whole(cell: str) -> int:
    if not (cell.isascii() and cell.isdigit()) or len(cell) > 7:
        raise ValueError(f"client is {cell[:40]!s}; write a whole number from 0 on")
    return int(cell)


def _number(name: str, cell: str, wanted: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = -inf
    if not isfinite(number) or number < 0 or number > 1e12:
        raise ValueError(f"{name} is {cell[:40]}; write {wanted}")
    return number


def _rate(name: str, cell: str) -> float:
    return _number(name, cell, "a rate from 0 on")


def _state(name: str, cell: str) -> float:
    if cell not in _STATES:
        raise ValueError(f"{name} is {cell[:40]!r}; write on or off")
    return _STATES[cell]
