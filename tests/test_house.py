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
