"""The tables and the picture of docs/results/codecs.md, from its CSV."""

from __future__ import annotations

from pathlib import Path

BEGIN, END = "<!-- codecs: made by `make study-codecs` -->", "<!-- /codecs -->"


def tables(csv: Path) -> str:
    """Accuracy by codec and bytes."""
    return csv.name


def draw(csv: Path) -> Path:
    """Accuracy against payload."""
    return csv.with_suffix(".png")
