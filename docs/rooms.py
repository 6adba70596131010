"""``python docs/rooms.py``: architecture.svg, the rooms of the house by floors, read from imports.

A room is a package of ``fedtiny/`` or one of the three shells. A floor holds the rooms that need
nothing but floors below it. Arrows that follow from others are left out.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Set
from html import escape
from pathlib import Path

from fedtiny.command_line import CommandLine

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "architecture.svg"
SHELLS = ("clients", "strategies", "sims")
LEDGE = {"errors", "seeding", "settings", "text_files"}
"""Modules that every room may import; they are drawn as one room, ``basics``."""
BASICS = "basics"

WIDTH, MARGIN, FLOOR, HEIGHT, GAP = 1160, 20, 112, 62, 14
SHELL_COLOR, CORE_COLOR, CIRCLE_COLOR = "#fde7d3", "#e3effa", "#f7c6c5"

Imports = Mapping[str, Set[str]]


def room_of(module: str) -> str | None:
    """The room of a dotted module name; None if it is not ours, or ``fedtiny`` itself.

    >>> room_of("fedtiny.wire.packet"), room_of("sims.grids.ray"), room_of("fedtiny.errors")
    ('wire', 'sims', 'basics')
    """
    first, *rest = module.split(".")
    if first in SHELLS:
        return first
    if first != "fedtiny" or not rest:
        return None
    return BASICS if rest[0] in LEDGE else rest[0]


def sources() -> Iterator[tuple[str, Path]]:
    """(room, file) of every module, ``fedtiny/__init__.py`` apart."""
    for top in ("fedtiny", *SHELLS):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            room = room_of(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
            if room is not None:
                yield room, path


def imported(tree: ast.AST) -> Iterator[str]:
    """Modules a file imports, inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                yield f"{node.module}.{alias.name}" if node.module == "fedtiny" else node.module


def read_imports() -> dict[str, set[str]]:
    """By room, the rooms it imports from, itself excepted."""
    found: dict[str, set[str]] = {}
    for room, path in sources():
        found.setdefault(room, set())
        for module in imported(ast.parse(path.read_text(encoding="utf-8"))):
            other = room_of(module)
            if other is not None and other != room:
                found[room].add(other)
    return {room: others & found.keys() for room, others in found.items()}


def reach(imports: Imports) -> dict[str, set[str]]:
    """By room, every room it needs, directly or through others.

    >>> sorted(reach({"a": {"b"}, "b": {"c"}, "c": set()})["a"])
    ['b', 'c']
    """
    needs = {room: set(others) for room, others in imports.items()}
    for middle in needs:
        for room in needs:
            if middle in needs[room]:
                needs[room] |= needs[middle]
    return needs


def floors(imports: Imports) -> dict[str, int]:
    """By room its floor, 0 lowest; rooms of a circle share one.

    >>> floors({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    {'a': 2, 'b': 1, 'c': 0}
    """
    needs = reach(imports)
    level = dict.fromkeys(imports, 0)
    for _ in imports:
        for room in imports:
            below = [o for o in needs[room] if o != room and room not in needs[o]]
            level[room] = max((level[other] + 1 for other in below), default=0)
        for room in imports:
            level[room] = max(level[o] for o in {room, *needs[room]} if room in {o, *needs[o]})
    return level


def arrows(imports: Imports) -> list[tuple[str, str]]:
    """(from, to) of the imports that do not follow from others.

    >>> arrows({"a": {"b", "c"}, "b": {"c"}, "c": set()})
    [('a', 'b'), ('b', 'c')]
    """
    needs = reach(imports)
    return [
        (room, other)
        for room, others in sorted(imports.items())
        for other in sorted(others)
        if not any(other in needs[third] for third in others - {other} if room not in needs[third])
    ]


def circles(imports: Imports) -> set[str]:
    """Rooms that need themselves."""
    return {room for room, needs in reach(imports).items() if room in needs}


def places(imports: Imports) -> dict[str, tuple[float, float, float]]:
    """By room (left, top, width) of its box; every floor fills the picture's width."""
    level = floors(imports)
    top, found = max(level.values()), {}
    for floor in range(top, -1, -1):
        rooms = sorted(room for room in level if level[room] == floor)
        # Below the rooms that need them, so that few arrows cross.
        above = {r: [found[o][0] for o in found if r in imports[o]] for r in rooms}
        rooms.sort(key=lambda r: sum(above[r]) / len(above[r]) if above[r] else WIDTH / 2)
        share = (WIDTH - 2 * MARGIN + GAP) / len(rooms)
        width = min(share - GAP, 240)
        for index, room in enumerate(rooms):
            left = MARGIN - GAP / 2 + share * (index + 0.5) - width / 2
            found[room] = (left, MARGIN + (top - floor) * FLOOR, width)
    return found


def words(room: str) -> str:
    """What the room's docstring says it is, up to the first stop."""
    if room == BASICS:
        return ", ".join(sorted(LEDGE))
    path = ROOT / (f"{room}/__init__.py" if room in SHELLS else f"fedtiny/{room}/__init__.py")
    path = path if path.is_file() else ROOT / f"fedtiny/{room}.py"
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n")[0].split(": ")[0].split(";")[0].split(". ")[0].rstrip(".")


def wrapped(text: str, width: float) -> list[str]:
    """Two lines at most of what fits ``width`` pixels at the small size."""
    limit, lines = int(width / 6.2), [""]
    for word in text.replace("``", "").split():
        if len(lines[-1]) + len(word) + 1 > limit:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines if len(lines) < 3 else [lines[0], lines[1][: limit - 1].rstrip(" ,") + "…"]


def draw(imports: Imports) -> str:
    """The picture as SVG text; a function of the imports and the rooms' docstrings."""
    where, bad = places(imports), circles(imports)
    height = max(y for _, y, _ in where.values()) + HEIGHT + MARGIN
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="sans-serif" fill="#222">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
        *(_arrow(where[one], where[other]) for one, other in arrows(imports)),
    ]
    for room, (x, y, width) in where.items():
        color = CIRCLE_COLOR if room in bad else SHELL_COLOR if room in SHELLS else CORE_COLOR
        lines.append(
            f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{HEIGHT}" rx="5" '
            f'fill="{color}" stroke="#888"/>'
        )
        middle = f'x="{x + width / 2:.0f}" text-anchor="middle"'
        lines.append(f'<text {middle} y="{y + 19}" font-size="15">{room}</text>')
        for index, line in enumerate(wrapped(words(room), width)):
            text = f'font-size="10.5" fill="#555">{escape(line)}</text>'
            lines.append(f'<text {middle} y="{y + 37 + 14 * index}" {text}')
    return "\n".join([*lines, "</svg>", ""])


def _arrow(start: tuple[float, float, float], end: tuple[float, float, float]) -> str:
    x1, y1, x2, y2 = start[0] + start[2] / 2, start[1] + HEIGHT, end[0] + end[2] / 2, end[1]
    bend = f"C{x1:.0f} {y1 + 30} {x2:.0f} {y2 - 30} {x2:.0f} {y2}"
    return f'<path d="M{x1:.0f} {y1}{bend}" fill="none" stroke="#9aa7b4" stroke-width="1.2"/>'


cli = CommandLine()


@cli.command()
def rooms() -> None:
    """Draw docs/architecture.svg anew and print where it is."""
    PICTURE.write_text(draw(read_imports()), encoding="utf-8")
    print(PICTURE)


if __name__ == "__main__":
    cli()
