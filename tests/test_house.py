"""The house: no import of our own is hidden in a function without a reason beside it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = ("fedtiny", "clients", "strategies", "sims")
MODULES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))


def hidden_imports(tree: ast.Module) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports inside functions, and those that only type checkers see."""
    for outer in ast.walk(tree):
        lazy = isinstance(outer, ast.FunctionDef | ast.AsyncFunctionDef)
        unseen = isinstance(outer, ast.If) and "TYPE_CHECKING" in ast.unparse(outer.test)
        if lazy or unseen:
            yield from (n for n in ast.walk(outer) if isinstance(n, ast.Import | ast.ImportFrom))


def names_of(node: ast.Import | ast.ImportFrom) -> list[str]:
    if isinstance(node, ast.ImportFrom):
        return [node.module or "fedtiny"]
    return [alias.name for alias in node.names]


def without_reason(text: str) -> list[str]:
    """Hidden imports of our own packages that say nothing of why."""
    lines = text.splitlines()
    return [
        lines[node.lineno - 1].strip()
        for node in hidden_imports(ast.parse(text))
        if any(name.split(".")[0] in ROOMS for name in names_of(node))
        and "noqa: PLC0415 - " not in lines[node.lineno - 1]
    ]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_import_of_our_own_is_hidden_without_a_reason(path: Path) -> None:
    assert without_reason(path.read_text(encoding="utf-8")) == []


def test_the_test_sees_what_it_looks_for() -> None:
    hidden = "def f():\n    from fedtiny.models import build\n"
    assert without_reason(hidden) == ["from fedtiny.models import build"]
    assert without_reason(hidden.replace("build\n", "build  # noqa: PLC0415 - torch\n")) == []
    circle = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import strategies.app\n"
    assert without_reason(circle) == ["import strategies.app"]
    assert without_reason("def f():\n    import torch\n") == []


def is_mode(node: ast.expr | None) -> bool:
    return (
        isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and not set(node.value) - set("rwaxt+")
    )


def opens_text(call: ast.Call) -> bool:
    """Whether a call opens, reads or writes text, or reads the text of another process."""
    function = call.func
    method = isinstance(function, ast.Attribute)
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    named = {one.arg: one.value for one in call.keywords}
    match name:
        case "read_text" | "write_text":
            return method  # text_files.read_text is a function, and knows
        case "open" if getattr(getattr(function, "value", None), "id", "") != "os":
            given = call.args[0 if method else 1 :]
            mode = named.get("mode") or (given[0] if given else None)
            return mode is None or is_mode(mode)
    return any(ast.unparse(named.get(k, ast.Constant(0))) == "True" for k in PROCESS_TEXT)


PROCESS_TEXT = ("text", "universal_newlines")


def of_the_locale(text: str) -> list[str]:
    """Calls whose encoding is the locale's: where it is another, they fail or write other bytes."""
    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call)
        and opens_text(node)
        and not any(one.arg == "encoding" for one in node.keywords)
    ]


def reads_markup(text: str) -> list[str]:
    """What would let rich read free text as markup; only ``escaping.terminal.Screen`` prints."""
    found = []
    for node in ast.walk(ast.parse(text)):
        match node:
            case ast.ImportFrom(module="rich.console", names=names):
                found += ["Console" for one in names if one.name == "Console"]
            case ast.ImportFrom(module="rich" | "rich.markup") | ast.Import():
                found += [one.name for one in node.names if one.name in ("print", "escape", "rich")]
            case ast.Attribute(attr="from_markup"):
                found.append("from_markup")
            case ast.keyword(arg="markup", value=ast.Constant(value=True)):
                found.append("markup=True")
            case ast.Call(func=ast.Name(id="TextColumn")):
                found += ["TextColumn"] * ("markup=False" not in ast.unparse(node))
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rich_reads_no_markup(path: Path) -> None:
    expected = ["Console"] if path.match("fedtiny/escaping/terminal.py") else []
    assert reads_markup(path.read_text(encoding="utf-8")) == expected


@pytest.mark.parametrize(
    "line",
    [
        "from rich.console import Console",
        "from rich import print",
        "from rich.markup import escape",
        "import rich",
        "Text.from_markup('[red]x')",
        "screen.print(x, markup=True)",
        "TextColumn('{task.fields[title]}')",
    ],
)
def test_the_rule_sees_every_way_to_markup(line: str) -> None:
    assert len(reads_markup(line)) == 1
    assert reads_markup("TextColumn('x', markup=False)\nfrom rich.console import Group") == []


EVERYWHERE = sorted(
    path for room in (*ROOMS, "tests", "docs", "examples") for path in (ROOT / room).rglob("*.py")
)


@pytest.mark.parametrize("path", EVERYWHERE, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_text_is_of_the_locale(path: Path) -> None:
    assert of_the_locale(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "call",
    [
        "path.read_text()",
        "path.write_text(text)",
        "path.open()",
        "path.open('a')",
        "open(path)",
        "open(path, 'w')",
        "open(path, mode='r')",
        "subprocess.run(command, text=True)",
        "subprocess.Popen(command, universal_newlines=True)",
    ],
)
def test_the_rule_sees_every_way_to_open_text(call: str) -> None:
    assert of_the_locale(call) == [ast.unparse(ast.parse(call))]
    comma = "" if call.endswith("()") else ", "
    assert of_the_locale(f"{call[:-1]}{comma}encoding='utf-8')") == []


@pytest.mark.parametrize(
    "call",
    ["path.open('rb')", "open(path, 'wb')", "os.open(path, flags)", "archive.open(one, 'w')"],
)
def test_the_rule_lets_bytes_alone(call: str) -> None:
    assert of_the_locale(call) == []


@pytest.mark.parametrize("marker", ["deploy", "firmware"])
def test_no_marked_test_is_forgotten(marker: str) -> None:
    """`make test` leaves them out: another target has to name their file."""
    targets = (ROOT / "Makefile").read_text(encoding="utf-8")
    marked = [
        path.relative_to(ROOT).as_posix()
        for path in sorted((ROOT / "tests").glob("test_*.py"))
        if f"pytest.mark.{marker}" in path.read_text(encoding="utf-8")
        and path.name != Path(__file__).name
    ]
    assert len(marked) > 5
    assert [path for path in marked if path not in targets] == []
