"""What ``import fedtiny`` offers: each name with an example, none imported before its use."""

import ast
import doctest
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import fedtiny

STUB = Path(fedtiny.__file__).with_suffix(".pyi")


@pytest.mark.parametrize("name", fedtiny.__all__)
def test_a_name_has_an_example(name: str) -> None:
    text = inspect.getdoc(getattr(fedtiny, name)) or ""
    assert doctest.DocTestParser().get_examples(text)


def test_type_checkers_see_the_same() -> None:
    imported = {
        alias.asname: f"{node.module}"
        for node in ast.parse(STUB.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert imported == fedtiny._HOMES
    assert set(fedtiny.__all__) <= set(dir(fedtiny))


def test_nothing_is_imported_before_its_use() -> None:
    program = "import sys, fedtiny; print(sorted(m for m in sys.modules if 'fedtiny.' in m))"
    command = [sys.executable, "-c", f"{program}; print('numpy' in sys.modules)"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.splitlines() == ["[]", "False"]


def test_other_names() -> None:
    with pytest.raises(AttributeError, match="'fedtiny' has no attribute 'Grpah'"):
        fedtiny.Grpah  # noqa: B018
