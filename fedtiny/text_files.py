"""Text files that people write: UTF-8 whatever the locale says, with or without a mark before it.

Editors and spreadsheets save other encodings, too; such a file is refused in a sentence that says
which it seems to be, in which line, and how to save it.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from fedtiny.errors import FedTinyError

_WIDE = (  # UTF-32's little-endian mark begins with that of UTF-16
    (b"\xff\xfe\x00\x00", "UTF-32"),
    (b"\x00\x00\xfe\xff", "UTF-32"),
    (b"\xff\xfe", "UTF-16"),
    (b"\xfe\xff", "UTF-16"),
)
_HEAD = 4096
_MARKED_UTF8 = "utf-8-sig"  # a byte-order mark before UTF-8 is dropped


class TextFileError(FedTinyError):
    """A text file cannot be read; the message names it, the line, and the fix."""


def read_text(path: Path, what: str = "") -> str:
    """All of a file; every line ends in a line feed alone.

    Args:
        path: of the file, perhaps a pipe: it is read once.
        what: it is, for the message.

    Raises:
        TextFileError: it cannot be opened, or is not UTF-8.
    """
    try:
        raw = path.read_bytes()
    except (OSError, ValueError) as error:
        raise _unreadable(path, what, error) from error
    return decode(raw, str(path)).replace("\r\n", "\n").replace("\r", "\n")


@contextmanager
def reading(path: Path) -> Iterator[TextIO]:
    """A file, too large to hold as text, whose lines are read in the block.

    Raises:
        TextFileError: it cannot be opened or read, or what was read of it is not UTF-8.
    """
    try:
        with path.open("rb") as raw:
            _refuse_wide(str(path), raw.read(_HEAD))
        with path.open(encoding=_MARKED_UTF8) as file:
            yield file
    except UnicodeDecodeError as error:
        raise _not_utf8(str(path), path.read_bytes()) from error
    except OSError as error:
        raise _unreadable(path, "", error) from error


def decode(raw: bytes, where: str) -> str:
    """Bytes of a text file as text.

    Args:
        raw: its content, or whole lines of it.
        where: they come from, for the message.

    Raises:
        TextFileError: they are not UTF-8.

    >>> decode(b"\\xef\\xbb\\xbfname", "a.toml")
    'name'
    >>> decode("x = 1\\ny = 'ä'".encode("latin1"), "a.toml")
    Traceback (most recent call last):
    ...
    fedtiny.text_files.TextFileError: a.toml, line 2: byte e4 is not UTF-8; the file seems to be
    Latin-1 (ISO 8859-1): save it as UTF-8, in an editor or with
    `iconv -f LATIN1 -t UTF-8 a.toml > NEW`
    """
    _refuse_wide(where, raw[:_HEAD])
    try:
        return raw.decode(_MARKED_UTF8)
    except UnicodeDecodeError as error:
        raise _not_utf8(where, raw) from error


def read_toml(path: Path, what: str = "") -> dict[str, Any]:
    """A TOML file as plain values; ``what`` it is goes into the message.

    Raises:
        TextFileError: it cannot be opened, is not UTF-8, or not TOML.
    """
    try:
        return tomllib.loads(read_text(path, what))
    except (ValueError, RecursionError) as error:
        # besides TOMLDecodeError: numbers of too many digits, and brackets nested without end
        raise TextFileError(f"{path} is not valid TOML: {_short(error)}") from error


def read_json(path: Path) -> Any:  # noqa: ANN401 - any JSON value
    """A JSON file as plain values.

    Raises:
        TextFileError: it cannot be opened, is not UTF-8, or not JSON.
    """
    try:
        return json.loads(read_text(path))
    except (ValueError, RecursionError) as error:
        raise TextFileError(f"{path} is not valid JSON: {_short(error)}") from error


def _unreadable(path: Path, what: str, error: Exception) -> TextFileError:
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    return TextFileError(f"cannot read {what or 'file'} {path}: {reason}")


def _short(error: Exception) -> str:
    return "nested too deep" if isinstance(error, RecursionError) else f"{error!s:.300}"


def _refuse_wide(where: str, head: bytes) -> None:
    """UTF-16 and UTF-32, by their mark or, as no text has null characters, by their zeros."""
    seen = next((name for mark, name in _WIDE if head.startswith(mark)), None)
    if seen is None and 0 in head:
        seen = "UTF-32" if b"\0\0" in head else "UTF-16"
    if seen is not None:
        line = 1 + head[: max(head.find(0), 0)].count(b"\n")
        raise TextFileError(f"{where}, line {line}: {_advice(where, seen, seen)}")


def _not_utf8(where: str, raw: bytes) -> TextFileError:
    try:
        raw.decode(_MARKED_UTF8)
        at = 0  # another file by now
    except UnicodeDecodeError as error:
        at = error.start + (len(error.object) < len(raw)) * 3  # the mark was taken off
    # Latin-1 has control codes there, Windows quotation marks and the euro sign.
    windows = any(0x80 <= byte < 0xA0 for byte in raw)
    seen = "Windows-1252" if windows else "Latin-1 (ISO 8859-1)"
    line = 1 + raw[:at].count(b"\n")
    found = f"byte {raw[at]:02x} is not UTF-8; " if at < len(raw) else ""
    advice = _advice(where, seen, "CP1252" if windows else "LATIN1")
    return TextFileError(f"{where}, line {line}: {found}{advice}")


def _advice(where: str, seen: str, codec: str) -> str:
    return (
        f"the file seems to be {seen}: save it as UTF-8, in an editor or with "
        f"`iconv -f {codec} -t UTF-8 {where} > NEW`"
    )
