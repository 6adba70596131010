"""A config as the flat table that trackers show."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from fedtiny.config import RunConfig

Setting = str | int | float | bool


def flat(config: RunConfig) -> dict[str, Setting]:
    """Settings by ``section.key``; lists and tables within as text.

    >>> flat(RunConfig(seed=3))["seed"], flat(RunConfig())["federation.rounds"]
    (3, 30)
    """
    return dict(_flat(config.model_dump(mode="json"), ""))


def _flat(table: Mapping[str, object], prefix: str) -> Iterator[tuple[str, Setting]]:
    for key, value in table.items():
        if isinstance(value, dict) and not prefix:
            yield from _flat(value, f"{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str | int | float) else str(value)
