"""What the sections of a config share. Rooms declare their own; a run's config joins them."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from fedtiny.errors import FedTinyError

Fraction = Annotated[float, Field(gt=0, le=1)]
"""A share, in (0, 1]."""


class ConfigError(FedTinyError):
    """A config file or override is wrong; the message names the key and the fix."""


class Section(BaseModel):
    """Frozen; unknown keys are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")
