"""Launchers, grids and sweeps: how runs are started on one laptop or a cluster."""

import sys
from pathlib import Path


def _checkout_first(path: list[str], checkout: str, here: str) -> list[str]:
    """Import path with our checkout before everything and the working directory after everything.

    ``python -m`` puts the working directory first, where a user may have ``clients/`` or ``sims/``
    (or a ``numpy.py``) of their own; their own models and methods are still found there.

    >>> _checkout_first(["", "/usr/lib", "/us"], "/us", "/home/me")
    ['/us', '/usr/lib', '/home/me']
    """
    working = [here] if {"", here} & {*path} else []
    others = [one for one in path if one not in ("", here, checkout)]
    return [checkout, *others, *(one for one in working if one != checkout)]


def _working_directory() -> str:
    try:
        return str(Path.cwd())
    except FileNotFoundError:  # it was deleted
        return ""


sys.path[:] = _checkout_first(
    sys.path, str(Path(__file__).resolve().parents[1]), _working_directory()
)
