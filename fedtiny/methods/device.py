"""The half of a method that runs on devices, in the rounds that adjust masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.extrusion import Extrusion
from fedtiny.pruning.schedule import PruningSchedule
from fedtiny.pruning.slopes import Slopes
from fedtiny.sparse.packing import pack_masks, unpack_masks
from fedtiny.sparse.tensor import Floats, Mask
from fedtiny.training.config import TrainingConfig
from fedtiny.training.local import LocalUpdate
from fedtiny.training.trainer import Growth, Labels, Trainer
from fedtiny.wire.packet import Array, Packet, WireError, concatenate, split

Masks = Mapping[str, Mask]
Quotas = Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """What the server reads of a device's half, besides the trained values.

    Attributes:
        masks: the device's, by layer: those it was sent unless the method lets it change them.
        found: what it was asked for, by layer: flat positions, ascending, and numbers.
    """

    masks: Masks
    found: Growth


class DeviceHalf:
    """Trains under the masks it was sent, then reports its largest gradients of absent weights.

    That is FedTiny's (Algorithm 2), and the base of all others: a method overrides what its
    devices do differently. Only rounds with quotas come here, but for
    :meth:`slopes`.
    """

    sends: ClassVar[Mapping[str, str]] = {
        "growth_indices": "positions of its largest gradients among absent weights",
        "growth_values": "those gradients, averaged over one batch",
    }
    """What each array that devices send besides trained values is, by kind: for the report."""

    changes_masks: ClassVar[bool] = False
    """Whether :meth:`midway` is to be called: the device exchanges weights itself."""

    def largest_request(self, schedule: PruningSchedule, graph: Graph, masks: Masks) -> Quotas:
        """The quotas of the adjustment that asks for most gradients: what memory is planned for.

        Args:
            schedule: of the run.
            graph: the model.
            masks: as dense as they will be.
        """
        requests: list[dict[str, int]] = [{}]
        for round in range(1, schedule.stop + 1):
            counter = schedule.adjustment(round)
            if counter is not None:
                names = schedule.block(graph, counter)
                quotas = {n: schedule.quota(round, masks[n].nnz, masks[n].size) for n in names}
                requests.append({name: quota for name, quota in quotas.items() if quota})
        return max(requests, key=lambda request: sum(request.values()))

    def extrusion(
        self, training: TrainingConfig, model: SparseModel, quotas: Quotas, steps: int
    ) -> Extrusion | None:
        """A penalty on the weights about to go while the device trains.

        Args:
            training: the run's.
            model: as it was sent.
            quotas: how many weights may change, by layer.
            steps: of the round on this device.
        """
        return None

    def slopes(self, model: SparseModel) -> Slopes | None:
        """What is made of gradients before every step, in any round; None: nothing.

        Args:
            model: as it was sent.
        """
        return None

    def midway(self, trainer: Trainer, x: Floats, y: Labels, quotas: Quotas) -> SparseModel:
        """The model to go on with after half of the steps, if ``changes_masks``."""
        raise NotImplementedError

    def finish(self, trainer: Trainer, x: Floats, y: Labels, quotas: Quotas) -> Growth:
        """What the device reports after its last step, gradients taken on batch (x, y)."""
        return trainer.growth(x, y, quotas)

    def pack(self, graph: Graph, update: LocalUpdate) -> dict[str, Array]:
        """What the device sends besides trained values, as named arrays of :attr:`sends`."""
        if not update.found:
            return {}
        return {
            "growth_indices": growth_indices(graph, update.found),
            "growth_values": concatenate([values for _, values in update.found.values()]),
        }

    def read(self, graph: Graph, masks: Masks, quotas: Quotas, packet: Packet) -> Read:
        """The inverse of :meth:`pack`.

        Args:
            graph: the model.
            masks: that were sent.
            quotas: that were sent.
            packet: the reply.

        Raises:
            WireError: more than was asked for, weights that are present, NaN, a wrong size.
            SparseError: positions that do not decode.
        """
        reported = read_growth_masks(graph, masks, quotas, packet)
        sizes = {name: (mask.nnz,) for name, mask in reported.items()}
        total = sum(mask.nnz for mask in reported.values())
        return Read(
            masks, with_values(reported, split(packet.floats("growth_values", (total,)), sizes))
        )


def growth_indices(graph: Graph, found: Growth) -> Array:
    """The reported positions as masks of their own, packed (uint8)."""
    shapes = {name: graph.layer(name).weight_shape for name in found}
    return pack_masks({name: Mask(shapes[name], where) for name, (where, _) in found.items()})


def read_growth_masks(
    graph: Graph, present: Masks, quotas: Quotas, packet: Packet
) -> dict[str, Mask]:
    """The inverse of :func:`growth_indices`, at most ``quotas[layer]`` absent weights each.

    Raises:
        WireError: more than was asked for, or weights that are present.
        SparseError: the positions do not decode.
    """
    shapes = {name: graph.layer(name).weight_shape for name in quotas}
    masks = unpack_masks(packet.blob("growth_indices"), shapes)
    for name, quota in quotas.items():
        if masks[name].nnz > quota:
            raise WireError(f"growth of {name}: {masks[name].nnz} entries, asked for {quota}")
        if np.isin(masks[name].indices, present[name].indices, assume_unique=True).any():
            raise WireError(f"growth of {name}: reports weights that are present")
    return masks


def with_values(masks: Masks, values: Mapping[str, Floats]) -> Growth:
    """Positions and one number for each, by layer."""
    return {name: (mask.indices, values[name]) for name, mask in masks.items()}
