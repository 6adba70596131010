"""Pillow and fontTools, which only this room needs."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType

from fedtiny.errors import FedTinyError


class GlyphError(FedTinyError):
    """Fonts cannot be fetched, read or rendered; the message names the fix."""


class FontError(GlyphError):
    """One font cannot be rendered; the others can."""


def optional(name: str) -> ModuleType:
    """A module of the extra ``data``.

    Raises:
        GlyphError: it is not installed.

    >>> optional("PIL.Image").__name__
    'PIL.Image'
    """
    try:
        return import_module(name)
    except ImportError as error:
        package = {"PIL": "Pillow", "fontTools": "fontTools"}[name.split(".")[0]]
        raise GlyphError(
            f"rendering fonts needs {package}: pip install 'fedtiny[data]', or make install"
        ) from error
