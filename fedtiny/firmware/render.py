"""Templates of the exported project, filled in: every value is escaped for the file's language.

A value that a template writes is free text unless it says otherwise: it passes the escaping
function of its language, whichever template wrote it. What is code already is marked as such
(``Markup``); string literals in C are made by the filter ``literal``.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import PurePosixPath
from typing import Any

import jinja2
from jinja2.environment import TemplateModule
from markupsafe import Markup

from fedtiny.escaping.c import c_comment, c_string
from fedtiny.escaping.cmake import cmake_text
from fedtiny.escaping.kconfig import kconfig_text
from fedtiny.escaping.make import make_text
from fedtiny.escaping.markdown import markdown_text
from fedtiny.escaping.xml import xml_text

Context = Mapping[str, Any]
"""Variables of a template."""

Escape = Callable[[str], str]
"""Free text as a language takes it."""

LANGUAGES: Mapping[str, Escape] = {
    ".c": c_comment,
    ".h": c_comment,
    ".cpp": c_comment,
    ".json": json.dumps,
    ".yml": json.dumps,  # YAML reads JSON's strings
    ".pdsc": xml_text,
    ".md": markdown_text,
    ".conf": kconfig_text,
    "Kconfig": kconfig_text,
    "CMakeLists.txt": cmake_text,
    "Makefile": make_text,
}
"""By a file's name or else its suffix."""


def render(name: str, context: Context) -> str:
    """The template ``{name}.jinja`` filled in; a variable it misses is an error."""
    return _environment(_language(name)).get_template(f"{name}.jinja").render(context)


@cache
def c_macros() -> TemplateModule:
    """Those that write bodies of C functions; what they return is code."""
    return _environment(".c").get_template("calls.c.jinja").module


def _language(name: str) -> str:
    path = PurePosixPath(name)
    return path.name if path.name in LANGUAGES else path.suffix


@cache
def _environment(language: str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("fedtiny.firmware"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=True,  # so that macros return code; what is escaped how is said by finalize
        finalize=_escaping(LANGUAGES.get(language, _refuse)),
    )
    environment.filters |= {"literal": _literal, "literals": _literals, "verbatim": Markup}
    return environment


def _escaping(escape: Escape) -> Callable[[object], Markup]:
    def finalize(value: object) -> Markup:
        if isinstance(value, Markup):
            return value
        text = str(value)  # an undefined variable raises here
        return Markup(escape(text) if isinstance(value, str) else text)

    return finalize


def _refuse(text: str) -> str:
    raise TypeError(f"no escaping function for the language of a template that writes {text!r}")


def _literal(text: str) -> Markup:
    return Markup(c_string(text))


def _literals(texts: Iterable[str]) -> Markup:
    return Markup(", ".join(map(c_string, texts)))
