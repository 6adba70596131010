"""Free text in CMake."""

from __future__ import annotations


def cmake_text(text: str) -> str:
    r"""Text within double quotes, on one line; safe in a comment of its own line too.

    >>> print(cmake_text('a "b" ${c} \\ ;'))
    a \"b\" \${c} \\ ;
    """
    return "".join(f"\\{c}" if c in '\\"$' else c for c in " ".join(text.splitlines()))
