"""Which part of a run's model a board has."""

from __future__ import annotations

from fedtiny.errors import FedTinyError
from fedtiny.runs.events import DeviceDescribed, TierGiven
from fedtiny.runs.folder import RunFolder


def tier_folder(folder: RunFolder, name: str) -> RunFolder:
    """Where the part lies that a board trained, or the part of this name.

    Args:
        folder: of a finished run with tiers.
        name: a board of the catalogue, or a folder of ``tiers/``, e.g. ``width-0.5-density-0.4``.

    Raises:
        FedTinyError: the run has no parts, none is of that name, or boards of that name trained
            several; the message lists what there is.
    """
    there = sorted(path.name for path in folder.tiers.iterdir()) if folder.tiers.is_dir() else []
    if not there:
        raise FedTinyError(
            f"{folder.path} has no parts of its model: all its devices trained the whole model "
            "(tiers.policy); drop --tier"
        )
    if name in there:
        return RunFolder(folder.tiers / name)
    given = {one.partition: folder.tier(one.tier).path.name for one in folder.events(TierGiven)}
    boards: dict[str, set[str]] = {}
    for one in folder.events(DeviceDescribed):
        if one.ledger and one.partition in given:
            boards.setdefault(one.ledger.device, set()).add(given[one.partition])
    mine = sorted(boards.get(name, set()) & set(there))
    if len(mine) == 1:
        return RunFolder(folder.tiers / mine[0])
    if mine:
        raise FedTinyError(
            f"--tier {name}: boards of that name trained {len(mine)} parts; name one: "
            f"{', '.join(mine)}"
        )
    raise FedTinyError(
        f"--tier {name}: no board of that name trained, and no part is called so; there are "
        f"{', '.join([*sorted(boards), *there])}"
    )
