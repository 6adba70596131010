"""Free text in Kconfig, Zephyr's configuration language."""

from __future__ import annotations


def kconfig_text(text: str) -> str:
    r"""Text within double quotes, on one line; ``$(…)`` would be a macro.

    >>> print(kconfig_text('a "b" $(c) \\'))
    a \"b\" \$(c) \\
    """
    return "".join(f"\\{c}" if c in '\\"$' else c for c in " ".join(text.splitlines()))
