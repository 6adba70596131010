"""Free text in C: string literals and comments, for compilers of any age and character set."""

from __future__ import annotations

import unicodedata

_LITERAL = frozenset(map(chr, range(32, 127))) - frozenset('"\\?')
"""Characters that stand for themselves in a string literal: ``?`` may begin a trigraph."""


def c_string(text: str) -> str:
    r"""A C string literal; anything but printable ASCII becomes octal escapes of its UTF-8.

    Octal escapes end after three digits, unlike hexadecimal ones, and compilers warn of no
    bidirectional control that they do not see.

    >>> print(c_string('m/s²'), c_string('"??/'))
    "m/s\302\262" "\042\077\077/"
    """
    return '"' + "".join(map(_in_literal, text)) + '"'


def _in_literal(character: str) -> str:
    if character in _LITERAL:
        return character
    return "".join(f"\\{byte:03o}" for byte in character.encode())


def c_comment(text: str) -> str:
    r"""Text within a ``/* … */`` comment, on one line and with a blank behind it.

    What would end the comment, begin another or join two lines is set apart; characters that
    cannot be seen (byte-order marks, bidirectional controls, line breaks) are named.

    >>> c_comment("a */ b /* c ??/ \u202e")
    'a * / b / * c ? ?/ <U+202E>'
    """
    shown = "".join(_in_comment(character) for character in text)
    for mark in ("*/", "/*", "??"):
        while mark in shown:
            shown = shown.replace(mark, f"{mark[0]} {mark[1]}")
    return f"{shown} " if shown.endswith(("\\", "*", "?")) else shown


def _in_comment(character: str) -> str:
    category = unicodedata.category(character)
    return (
        f"<U+{ord(character):04X}>" if category[0] == "C" or category in ("Zl", "Zp") else character
    )
