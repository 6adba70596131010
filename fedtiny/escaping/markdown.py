"""Free text in Markdown."""

from __future__ import annotations

import re

_MARKS = re.compile(r"[\\`*\[\]<>|&~$#]|(?<![^\W_])_|_(?![^\W_])")
"""What may begin markup; an underscore between letters is none."""

_LIST = re.compile(r"^(\d*)([-+.)])(?=[-\s]|$)")
"""What would begin a list, or be a line, at the start of a paragraph; a number's sign is none."""

_EDGES = re.compile(r"^\s+|\s+$")
"""Blanks that a cell of a table loses, unless they are written as numbers."""

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9 _./-]*[A-Za-z0-9]|[A-Za-z0-9]")
"""What a pair of backticks takes as it is, within tables and without."""

_TICKS = re.compile("`+")


class Markdown(str):
    """Markdown that was written as such; any other string is text that must be escaped."""

    __slots__ = ()


def markdown_text(text: str) -> Markdown:
    r"""Text on one line, in a paragraph or a cell of a table, shown as it is written.

    >>> print(markdown_text("*a* | [b](c) <d> & `e`"))
    \*a\* \| \[b\](c) \<d\> \& \`e\`
    """
    marked = _MARKS.sub(r"\\\g<0>", " ".join(text.splitlines()))
    marked = _LIST.sub(r"\1\\\2", marked)
    return Markdown(_EDGES.sub(lambda found: _numbered(found[0]), marked))


def _numbered(blanks: str) -> str:
    return "".join(f"&#{ord(blank)};" for blank in blanks)


def markdown_code(text: str) -> Markdown:
    r"""The same, in the letters of code. Backticks cannot hold every text within a table.

    >>> print(markdown_code("smartwatch_cnn"), markdown_code("a|`"))
    `smartwatch_cnn` <code>a\|\`</code>
    """
    if _PLAIN.fullmatch(text):
        return Markdown(f"`{text}`")
    return Markdown(f"<code>{markdown_text(text)}</code>")


def markdown_block(text: str) -> Markdown:
    """Lines of code, fenced by more backticks than follow each other in them.

    >>> print(markdown_block("make"))
    ```
    make
    ```
    """
    fence = "`" * max(3, 1 + max(map(len, _TICKS.findall(text)), default=0))
    return Markdown(f"{fence}\n{text}\n{fence}")
