"""What free text may be: checked where it enters, before any work."""

from __future__ import annotations

import unicodedata

from fedtiny.errors import FedTinyError

MAX_CHARACTERS = 200
"""Of one name: longer ones fit no legend and no table."""


class TextError(FedTinyError):
    """A text that cannot be shown as written."""


def check_free_text(what: str, text: str) -> str:
    """``text`` itself, if every language can show it as written.

    Args:
        what: the text is, for the message, e.g. ``"data.label_names[0]"``.
        text: 1..200 Unicode scalar values; no control characters (line breaks, tabs, escapes), no
            lone surrogates (bytes that were decoded wrongly).

    Raises:
        TextError: it is empty, too long, or has such a character; the message names it.

    >>> check_free_text("label", "$5 → 50 % */")
    '$5 → 50 % */'
    >>> check_free_text("label", "a\\nb")
    Traceback (most recent call last):
    ...
    fedtiny.escaping.free_text.TextError: label 'a\\nb': character 1 (U+000A) cannot be shown; ...
    """
    if not text or len(text) > MAX_CHARACTERS:
        raise TextError(f"{what} has {len(text):,} characters: write 1 to {MAX_CHARACTERS} of them")
    for position, character in enumerate(text):
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise TextError(
                f"{what} {text!a}: character {position} (U+{ord(character):04X}) cannot be "
                "shown; remove it (line breaks, escape codes, and bytes decoded wrongly are such)"
            )
    return text
