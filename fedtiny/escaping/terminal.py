"""Free text on a terminal: rich neither reads it as markup nor as emoji, and it can be printed."""

from __future__ import annotations

import os
import unicodedata
from typing import IO, Any, TextIO

from rich.console import Console
from rich.text import Text
from typing_extensions import override

_HIDDEN = ("Cc", "Cs", "Zl", "Zp")
"""Categories that a terminal obeys or refuses instead of showing them."""

_UNCUT = 10_000
"""Columns of what is no terminal: nobody widens a file to read what a table left out."""


class Screen(Console):
    """The only rich console of FedTiny: strings are shown as they are written.

    No string is markup, wherever it stands (a line, a cell, a title). What is to have a style is a
    :func:`terminal_text`.

    Args:
        stderr: print to standard error.
        file: print there instead.
        width: columns; by default the terminal's, and as many as it takes in a file or a pipe.
        quiet: print nothing.

    >>> Screen().print("[red]50 %[/red] :smile:")
    [red]50 %[/red] :smile:
    """

    def __init__(
        self,
        stderr: bool = False,
        *,
        file: IO[str] | None = None,
        width: int | None = None,
        quiet: bool = False,
    ) -> None:
        super().__init__(
            stderr=stderr,
            file=file,
            width=width,
            quiet=quiet,
            markup=False,
            emoji=False,
            highlight=False,
        )
        if not self.is_terminal and width is None and "COLUMNS" not in os.environ:
            self.width = _UNCUT

    @override
    def render_str(self, text: str, **settings: Any) -> Text:
        """Every string that rich prints passes here."""
        return super().render_str(visible(text), **settings)

    def say(self, text: str | Text) -> None:
        """A line of any length, whatever the terminal's width."""
        self.print(text, soft_wrap=True)


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
