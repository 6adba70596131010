"""Free text on a terminal: rich neither reads it as markup nor as emoji, and it can be printed."""

from __future__ import annotations

import unicodedata
from typing import TextIO

from rich.text import Text

_HIDDEN = ("Cc", "Cs", "Zl", "Zp")
"""Categories that a terminal obeys or refuses instead of showing them."""


def terminal_text(text: str, style: str = "") -> Text:
    """``text`` for rich's ``print`` and tables, shown as it is written.

    Args:
        text: any; several lines stay several lines.
        style: of all of it, e.g. ``"red"``.

    >>> terminal_text("[red]50 %[/red] :smile:").plain
    '[red]50 %[/red] :smile:'
    """
    return Text(visible(text), style)


def visible(text: str) -> str:
    r"""``text`` with escape codes, lone surrogates and their like spelled out, line breaks kept.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return "".join(
        ascii(c)[1:-1] if c != "\n" and unicodedata.category(c) in _HIDDEN else c for c in text
    )


def never_fail(stream: TextIO) -> None:
    """What ``stream``'s encoding lacks (under ``LC_ALL=C``, say) is spelled out, not an error."""
    reconfigure = getattr(stream, "reconfigure", None)  # a stream of one's own may have none
    if reconfigure is not None:
        reconfigure(errors="backslashreplace")
