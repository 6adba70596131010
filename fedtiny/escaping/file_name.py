"""What a name may be that becomes a file or a folder: one part of a path, never a path."""

from __future__ import annotations

from fedtiny.escaping.free_text import TextError, check_free_text

MAX_BYTES = 200
"""Of a name in UTF-8: file systems take 255, and some of our files add an ending."""

_SEPARATORS = "/\\"


def check_file_name(what: str, text: str) -> str:
    """``text`` itself, if it can be shown (:func:`check_free_text`) and names one folder.

    Args:
        what: the text is, for the message, e.g. ``"name"``.
        text: no ``/`` or ``\\``, not ``.`` or ``..``, no space at either end, at most 200 bytes.

    Raises:
        TextError: it is none; the message says why.

    >>> check_file_name("name", "网络 v2")
    '网络 v2'
    >>> check_file_name("name", "../demo")
    Traceback (most recent call last):
    ...
    fedtiny.escaping.free_text.TextError: name '../demo': contains '/'; ...
    """
    check_free_text(what, text)
    for separator in _SEPARATORS:
        if separator in text:
            raise TextError(f"{what} {text!r}: contains {separator!r}; it names one folder")
    if text in (".", ".."):
        raise TextError(f"{what} {text!r}: is taken; choose a name of its own")
    if text != text.strip():
        raise TextError(f"{what} {text!r}: begins or ends with a space; remove it")
    if len(encoded := text.encode()) > MAX_BYTES:
        raise TextError(f"{what} {text!r}: has {len(encoded)} bytes; at most {MAX_BYTES} are kept")
    return text
