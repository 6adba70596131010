"""Imports Matplotlib apart from what a user has set for other work; before anything else does."""

from __future__ import annotations

import os
from importlib import import_module

from fedtiny.errors import FedTinyError


def import_alone() -> None:
    """Import Matplotlib as if ``MPLBACKEND`` and ``MATPLOTLIBRC`` were not set.

    A backend that a notebook left in the environment may not exist here, and none is needed: every
    figure is drawn by Agg into a file. Its settings are :func:`fedtiny.report.plots.style.style`'s.

    Raises:
        FedTinyError: a ``matplotlibrc`` in the working directory cannot be read.
    """
    kept = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    try:
        import_module("matplotlib")
    except (ValueError, OSError) as error:
        raise FedTinyError(
            f"Matplotlib does not start: {error}; move the matplotlibrc of the working directory "
            "or of ~/.config/matplotlib away"
        ) from error
    finally:
        os.environ.update({name: value for name, value in kept.items() if value is not None})


import_alone()
