"""The federated methods: FedTiny and its rivals, one file each, and the table of them.

A method's file holds its settings, what the server does, what devices do, what they send and the
words for it. To add one, write the file and add its line to :data:`METHODS`.
"""

from typing import Any

from fedtiny.errors import FedTinyError
from fedtiny.methods.dense import Dense, Narrow
from fedtiny.methods.feddst import FedDst
from fedtiny.methods.fedmef import FedMef
from fedtiny.methods.fedrts import FedRts
from fedtiny.methods.fedshape import FedShape
from fedtiny.methods.fedtiny import FedTiny
from fedtiny.methods.fiarse import Fiarse
from fedtiny.methods.fixed_masks import ErkMask, MagnitudeMask, RandomMask
from fedtiny.methods.method import Method
from fedtiny.methods.prunefl import PruneFl
from fedtiny.methods.settings import PruningSettings
from fedtiny.methods.snip import Snip
from fedtiny.methods.sparsyfed import SparsyFed
from fedtiny.methods.ssfl import Ssfl
from fedtiny.methods.synflow import SynFlow

METHODS: dict[str, type[Method[Any]]] = {
    one.name: one
    for one in (
        FedTiny,
        Dense,
        Narrow,
        RandomMask,
        MagnitudeMask,
        ErkMask,
        Snip,
        SynFlow,
        Ssfl,
        PruneFl,
        FedDst,
        FedMef,
        FedRts,
        SparsyFed,
        Fiarse,
        FedShape,
    )
}
"""By ``pruning.method``, in the order of tables."""


def register(kind: type[Method[Any]]) -> None:
    """Make a method of one's own available as ``pruning.method``, by its ``name``.

    Its settings are those that the methods here declare: one with settings of its own belongs
    among them.

    Raises:
        FedTinyError: the name is taken by another method.
    """
    if METHODS.setdefault(kind.name, kind) is not kind:
        raise FedTinyError(f"method {kind.name!r} is already registered; choose another name")


def build(pruning: PruningSettings, rounds: int, seed: int) -> Method[Any]:
    """The method that a run's ``[pruning]`` section names.

    Args:
        pruning: all settings of all methods; each takes those it knows.
        rounds, seed: of the run.
    """
    kind = METHODS[pruning.method]
    known = kind.settings_type()
    values = {name: getattr(pruning, name) for name in known.model_fields}
    return kind(known.model_validate(values), rounds, seed)


__all__ = ["METHODS", "Method", "PruningSettings", "build", "register"]
