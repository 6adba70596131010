"""Rows of docs/results/codecs.csv."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from fedtiny.runs.fields import Count, Share

Bytes = Annotated[float, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Row:
    """A codec at one point.

    Attributes:
        payload_bytes: mean per picture, without headers and tables that both ends can hold.
        file_bytes: mean per picture as it stands by itself: a file, or blocks for the radio.
        encoder_parameters, encoder_flash_bytes, arena_bytes: of an exported encoder; none of JPEG.
    """

    codec: str
    setting: str
    seed: Count
    payload_bytes: Bytes
    file_bytes: Bytes
    accuracy: Share
    encoder_parameters: Count | None
    encoder_flash_bytes: Count | None
    arena_bytes: Count | None
    commit: str

    @property
    def key(self) -> tuple[str, str, int]:
        """What the study has one row of."""
        return self.codec, self.setting, self.seed

    def belongs(self, setting: str) -> bool:
        """Whether it is of a setting, at whatever budget, by whatever classifier."""
        rest = self.setting.removeprefix(setting)
        return rest == "" or (rest != self.setting and rest.startswith((" @ ", ", ", ": ")))


def setting_of(name: str, budget: int | None) -> str:
    """A setting at a budget, bytes; None: everything is sent."""
    return f"{name} @ {'whole code' if budget is None else f'{budget} B'}"
