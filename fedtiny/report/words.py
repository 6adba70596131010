"""What things are called in reports: groups of people, boards, and what left a device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from fedtiny.config import RunConfig
from fedtiny.devices.catalog import catalog
from fedtiny.methods import METHODS
from fedtiny.wire.phase import Phase

GROUPS = ("same_people", "unseen_people")
"""Whose samples an accuracy is about: the participants' own, and those of nobody who took part."""

DEPARTURES: Mapping[str, str] = {
    kind: words
    for fields in (
        *(phase.replies for phase in Phase),
        *(method.device_type.sends for method in METHODS.values()),
    )
    for kind, words in fields.items()
}
"""What each array or number a device sends is, by kind. None of them is a raw sample."""


def group_title(config: RunConfig, group: str) -> str:
    """A group of test samples, for people to read.

    >>> group_title(RunConfig(), "same_people")
    'later windows of the same people'
    """
    if config.data.source == "watch":
        same, unseen = "later windows of the same people", "people who took no part"
    else:
        same, unseen = "held-out samples of the participants", "samples of no participant"
    return same if group == "same_people" else unseen


def person_title(config: RunConfig, group: str, who: int) -> str:
    """One line of a per-person table.

    >>> person_title(RunConfig(), "same_people", 3), person_title(RunConfig(), "unseen_people", 9)
    ('client 3', 'unseen person 9')
    """
    if group == "same_people":
        return f"client {who}"
    return f"unseen person {who}" if config.data.source == "watch" else f"unseen set {who}"


def board_title(name: str) -> str:
    """A board without its part number; its catalogue name if this version does not list it.

    >>> board_title("stm32f746g_disco"), board_title("my_board")
    ('ST 32F746GDISCOVERY', 'my_board')
    """
    board = catalog().get(name)
    return board.title.split(" (")[0] if board else name


def in_rounds(rounds: Sequence[int]) -> str:
    """Rounds as they are named in a sentence or a cell.

    >>> in_rounds([3]), in_rounds(range(1, 12)), in_rounds([])
    ('round 3', 'rounds 1, 2, 3, 4, 5, 6, 7, 8 and 3 more', '')
    """
    if not rounds:
        return ""
    shown = ", ".join(map(str, rounds[:8]))
    more = f" and {len(rounds) - 8} more" if len(rounds) > 8 else ""
    return f"round{'s' if len(rounds) > 1 else ''} {shown}{more}"
