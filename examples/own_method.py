"""Bring your own method: SET's random regrowth (Mocanu et al. 2018) in one file, both halves."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedtiny.config import RunConfig, parse
from fedtiny.methods import register
from fedtiny.methods.device import DeviceHalf, Read
from fedtiny.methods.fedtiny import exchange_weights
from fedtiny.methods.fixed_masks import ErkMask
from fedtiny.methods.method import Adjusted, RoundEnd
from fedtiny.seeding import rng


class Silent(DeviceHalf):
    """Devices train, and report nothing else."""

    sends: ClassVar = {}

    def largest_request(self, schedule, graph, masks):
        return {}

    def finish(self, trainer, x, y, quotas):
        return {}

    def read(self, graph, masks, quotas, packet):
        return Read(masks, {})


@dataclass(frozen=True)
class Set(ErkMask):
    """Prune the smallest weights of every layer, grow as many at random."""

    name = "set"
    adjusts, one_shot, device_type = True, False, Silent

    def adjust(self, end: RoundEnd) -> Adjusted:
        draw, growth = rng(self.seed, "set", end.round), {}
        for name, quota in self.quotas(end.round, end.graph, end.model).items():
            absent = end.model.weights[name].mask.complement().astype(np.int32)
            where = np.sort(draw.choice(absent, min(quota, len(absent)), replace=False))
            growth[name] = (where, np.ones(len(where), np.float32))
        return Adjusted(exchange_weights(self.schedule, end, growth))


register(Set)


def my_run() -> RunConfig:
    """The demo's people, two rounds, masks adjusted after the first."""
    pruning = {"method": "set", "module": "examples.own_method", "interval": 1, "stop": 2}
    training = {"epochs": 1}
    return parse({"federation": {"rounds": 2}, "pruning": pruning, "training": training})
