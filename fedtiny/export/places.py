"""Which of a run's models: the global one, a board's part of it, or what was learned after it."""

from __future__ import annotations

from fedtiny.errors import FedTinyError
from fedtiny.runs.contest_events import PartCompared
from fedtiny.runs.events import DeviceDescribed, TierGiven
from fedtiny.runs.folder import RunFolder
from fedtiny.tiers.tier import Tier


def place_of(folder: RunFolder, tier: str = "", adapted: str = "") -> RunFolder:
    """Where the model lies that is meant, and where its project goes.

    Args:
        folder: of a finished run.
        tier: a board, or a part of the model, see :func:`tier_folder`; empty: none.
        adapted: a method by which the model was adapted; empty: none.

    Raises:
        FedTinyError: there is no such model; the message lists what there is.
    """
    if tier and adapted:
        raise FedTinyError(f"--tier {tier} and --adapted {adapted}: name one model")
    if adapted:
        return adapted_folder(folder, adapted)
    return tier_folder(folder, tier) if tier else folder


def chosen_part(folder: RunFolder) -> Tier | None:
    """The part that the run's model is, where devices chose it (``tiers.global_part``)."""
    chosen = [one.tier for one in folder.events(PartCompared) if one.chosen]
    return chosen[-1] if chosen else None


def adapted_folder(folder: RunFolder, method: str) -> RunFolder:
    """Where the model lies as ``method`` adapted it, by ``fedtiny adapt`` or by the federation.

    Raises:
        FedTinyError: nobody did; the message lists what there is.
    """
    place = folder.adapted(method)
    if place.model.is_file():
        return place
    there = sorted(path.parent.name for path in place.path.parent.glob("*/model.safetensors"))
    raise FedTinyError(
        f"--adapted {method}: {folder.path} has no model adapted so; there is "
        f"{', '.join(there) or 'none'}. `fedtiny adapt` makes one, and so does a run with "
        'federation.adapt = "federated"'
    )


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
