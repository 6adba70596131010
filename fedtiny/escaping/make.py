"""Free text in makefiles."""

from __future__ import annotations

import re


def make_text(text: str) -> str:
    r"""Text of a variable's value, on one line; safe in a comment too.

    A blank follows a backslash at the end, which would join the next line.

    >>> print(make_text("50 % # $(shell x)"))
    50 % \# $$(shell x)
    """
    one_line = " ".join(text.splitlines()).replace("$", "$$")
    marked = re.sub(r"(\\*)#", lambda match: f"{2 * match[1]}\\#", one_line)
    return f"{marked} " if marked.endswith("\\") else marked
