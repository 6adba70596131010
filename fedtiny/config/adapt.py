"""What devices learn of their own data once the rounds are over, and how."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from fedtiny.settings import MOST, Count, Section


class MethodName(StrEnum):
    """What is trained; :mod:`fedtiny.adapt.methods` says how."""

    FULL = "full"
    HEAD = "head"
    BIAS_HEAD = "bias_head"
    NORM_HEAD = "norm_head"
    LITE = "lite"
    LORA = "lora"
    SPARSE_UPDATE = "sparse_update"
    FISHER = "fisher"
    REPNET = "repnet"
    REPNET_ONE_WAY = "repnet_one_way"


class AdaptUse(StrEnum):
    """What becomes of what devices learn after the rounds."""

    OFF = "off"
    """They learn nothing more."""
    LOCAL = "local"
    """Each learns its own user once; nothing but what it came to leaves the device."""
    FEDERATED = "federated"
    """What is trained travels, and only that; the backbone stays where it is."""


_OWN = (MethodName.FULL, MethodName.FISHER)
"""Methods whose trained numbers are no small part, or differ from device to device."""


class AdaptConfig(Section):
    """Learning after the rounds, see ``federation.adapt``.

    Attributes:
        method: what of the finished model is trained.
        rounds: of ``federated``.
        steps: of Adam on every device, in each round.
        batch_size: samples per step; a tight budget takes fewer at a time.
        learning_rate: of Adam.
    """

    method: MethodName = MethodName.REPNET_ONE_WAY
    rounds: Count = 10
    steps: Count = 100
    batch_size: Count = 16
    learning_rate: Annotated[float, Field(gt=0, le=MOST)] = 3e-3

    def check(self, use: AdaptUse, parts: bool) -> None:
        """See that devices' numbers can be averaged, where they are to be.

        Args:
            use: of what is learned.
            parts: devices train parts of the model.

        Raises:
            ValueError: they cannot; the message names key and remedy.
        """
        if use is not AdaptUse.FEDERATED:
            return
        if self.method in _OWN:
            able = ", ".join(one.value for one in MethodName if one not in _OWN)
            raise ValueError(
                f'adapt.method = "{self.method.value}" trains the backbone, or what each device '
                'chooses: set federation.adapt = "local", or one that all devices share the rest '
                f"of: {able}"
            )
        if parts:
            raise ValueError(
                'federation.adapt = "federated" averages what is learned beside one backbone, but '
                'tiers.policy gives devices parts of it: set federation.adapt = "local"'
            )
