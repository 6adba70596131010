"""Which class runs which ``pruning.method``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from fedtiny.config import RunConfig
from fedtiny.config.methods import Method
from strategies.algorithm import Algorithm
from strategies.dense import DenseAveraging
from strategies.feddst import FedDst
from strategies.fedmef import FedMef
from strategies.fedrts import FedRts
from strategies.fixed_masks import ErkMask, MagnitudeMask, RandomMask
from strategies.progressive import FedTiny
from strategies.prunefl import PruneFl
from strategies.snip import Snip
from strategies.ssfl import Ssfl
from strategies.synflow import SynFlow

_ALGORITHMS: Mapping[Method, Callable[[RunConfig], Algorithm]] = {
    "fedtiny": FedTiny.of,
    "dense": lambda _: DenseAveraging("dense"),
    "narrow": lambda _: DenseAveraging("narrow"),
    "random": lambda config: RandomMask(config.pruning),
    "magnitude": lambda config: MagnitudeMask(config.pruning),
    "erk": lambda config: ErkMask(config.pruning),
    "snip": lambda config: Snip(config.pruning),
    "synflow": lambda config: SynFlow(config.pruning),
    "ssfl": lambda config: Ssfl(config.pruning),
    "prunefl": lambda config: PruneFl(config.pruning, config.schedule),
    "feddst": lambda config: FedDst(config.pruning, config.schedule),
    "fedmef": lambda config: FedMef(config.pruning, config.schedule),
    "fedrts": lambda config: FedRts(config.pruning, config.schedule, config.seed),
}


def algorithm(config: RunConfig) -> Algorithm:
    """The method the config names."""
    return _ALGORITHMS[config.pruning.method](config)
