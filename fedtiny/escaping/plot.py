"""Free text in pictures: no mathematics, nothing left out of a legend, long names on more lines."""

from __future__ import annotations

from collections.abc import Mapping

PLAIN_TEXT: Mapping[str, bool] = {"text.parse_math": False, "text.usetex": False}
"""Matplotlib's settings under which every text is drawn as it is written, ``$`` too.

Then axes must not be labelled by formatters that write mathematics themselves.
"""

LINE_CHARACTERS = 40
"""Of a line of a title, a tick or a legend."""

_SHOWN = "\N{WORD JOINER}"


def legend_label(text: str) -> str:
    """A label that Matplotlib lists whatever it begins with; it leaves out those that begin with _.

    >>> legend_text(legend_label("_first")), legend_text("second")
    ('_first', 'second')
    """
    return _SHOWN + text


def legend_text(label: str) -> str:
    """The text of a label, from :func:`legend_label` or plain."""
    return label.removeprefix(_SHOWN)


def broken(text: str, characters: int = LINE_CHARACTERS) -> str:
    r"""``text`` on as many lines as it takes, at spaces if there are any; without line breaks it is
    the text.

    >>> broken("a name of some length", 10)
    'a name of \nsome \nlength'
    >>> broken("unbreakable", 6)
    'unbrea\nkable'
    """
    lines = []
    while len(text) > characters:
        end = text.rfind(" ", 0, characters) + 1 or characters
        lines.append(text[:end])
        text = text[end:]
    return "\n".join([*lines, text])
