"""The pages: links lead somewhere, the README stays short, the picture is that of the code."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.fixture(scope="module")
def rooms() -> dict[str, Any]:
    return runpy.run_path(str(ROOT / "docs" / "rooms.py"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    ours = [link for link in links if not link.startswith(("http:", "https:"))]
    assert [link for link in ours if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_paths_in_code_marks_exist(page: Path) -> None:
    """Except those in a changelog, which speaks of the past."""
    if page.name == "CHANGELOG.md":
        return
    marked = re.findall(
        r"`((?:fedtiny|clients|strategies|sims|tests|docs|examples|results)/[\w./-]*)`",
        page.read_text(encoding="utf-8"),
    )
    assert [path for path in marked if not (ROOT / path).exists() and "NAME" not in path] == []


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120


def test_the_picture_shows_the_imports(rooms: dict[str, Any]) -> None:
    drawn = rooms["draw"](rooms["read_imports"]())
    assert rooms["PICTURE"].read_text(encoding="utf-8") == drawn, "make architecture"


def test_no_room_needs_itself(rooms: dict[str, Any]) -> None:
    assert rooms["circles"](rooms["read_imports"]()) == set()
