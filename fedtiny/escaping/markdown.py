"""Free text in Markdown."""

from __future__ import annotations

import re

_MARKS = re.compile(r"[\\`*\[\]<>|&~$#]|(?<!\w)_|_(?!\w)")
"""What may begin markup; an underscore between letters is none."""


def markdown_text(text: str) -> str:
    r"""Text on one line, in a paragraph or a cell of a table, shown as it is written.

    >>> print(markdown_text("*a* | [b](c) <d> & `e`"))
    \*a\* \| \[b\](c) \<d\> \& \`e\`
    """
    return _MARKS.sub(r"\\\g<0>", " ".join(text.splitlines()))
