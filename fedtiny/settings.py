"""What the sections of a config share. Rooms declare their own; a run's config joins them."""

from __future__ import annotations

import importlib
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fedtiny.errors import FedTinyError

MOST = 1_000_000
"""Of what is counted (rounds, samples, clients): far above any use, far below any overflow."""

Count = Annotated[int, Field(ge=1, le=MOST)]
CountOrNone = Annotated[int, Field(ge=0, le=MOST)]
"""Zero stands for none, or for a default."""

Fraction = Annotated[float, Field(gt=0, le=1)]
"""A share, in (0, 1]."""


class ConfigError(FedTinyError):
    """A config file or override is wrong; the message names the key and the fix."""


def import_own(key: str, module: str) -> None:
    """Import the user's ``module``, if there is one, for what it registers.

    Raises:
        ConfigError: it cannot be imported; the message names ``key``.
    """
    if not module:
        return
    try:
        importlib.import_module(module)
    except Exception as error:  # whatever a module of the user's own does while it is imported
        name = "" if isinstance(error, ImportError) else f"{type(error).__name__}: "
        raise ConfigError(f"{key} = {module!r}: {name}{error}") from error


class Section(BaseModel):
    """Frozen; unknown keys are errors, and so are infinities and NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
