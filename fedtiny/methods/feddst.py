"""FedDST: devices change their masks, the server makes them one again.

Bibikar et al., "Federated Dynamic Sparse Training: Computing Less, Communicating Less, Yet Learning
Better", AAAI 2022 (arXiv 2112.09824), Algorithm 1. In a round that adjusts, halfway through its
steps, every device prunes its a_l smallest |θ| and grows its a_l largest gradients (RigL), goes on
training, and sends its mask with its values. The server averages every weight over the devices that
have it and prunes each layer back to its number of weights by magnitude.

Different from the paper: the layers start from Erdős-Rényi-kernel densities as there, but keep the
largest pre-trained weights; devices adjust after half of their steps, not
after a set epoch; and a_l follows the cosine that all methods of a run share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from typing_extensions import override

from fedtiny.aggregation.combiner import Combiner
from fedtiny.aggregation.models import average_dense
from fedtiny.aggregation.sparse import keep_largest
from fedtiny.methods.device import DeviceHalf, Masks, Quotas, Read
from fedtiny.methods.fixed_masks import ErkMask
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel, sparse_names
from fedtiny.pruning.regrowth import regrow
from fedtiny.sparse.packing import pack_masks, unpack_masks
from fedtiny.sparse.tensor import Floats
from fedtiny.training.local import LocalUpdate
from fedtiny.training.trainer import Growth, Labels, Trainer
from fedtiny.wire.packet import Array, Packet, WireError
from fedtiny.wire.train import TrainResult


class Regrow(DeviceHalf):
    """Exchanges weights itself, halfway through the round, and sends its mask."""

    sends: ClassVar[Mapping[str, str]] = {
        "local_masks": "which weights its own mask has, after it exchanged some",
    }
    changes_masks: ClassVar[bool] = True

    @override
    def midway(self, trainer: Trainer, x: Floats, y: Labels, quotas: Quotas) -> SparseModel:
        return regrow(trainer.model(), trainer.growth(x, y, quotas), quotas)

    @override
    def finish(self, trainer: Trainer, x: Floats, y: Labels, quotas: Quotas) -> Growth:
        return {}

    @override
    def pack(self, graph: Graph, update: LocalUpdate) -> dict[str, Array]:
        return {"local_masks": pack_masks(update.model.masks)}

    @override
    def read(self, graph: Graph, masks: Masks, quotas: Quotas, packet: Packet) -> Read:
        shapes = {name: graph.layer(name).weight_shape for name in sparse_names(graph)}
        local = unpack_masks(packet.blob("local_masks"), shapes)
        for name, mask in local.items():
            if mask.nnz != masks[name].nnz:
                raise WireError(
                    f"local_masks of {name}: {mask.nnz} weights, sent {masks[name].nnz}"
                )
        return Read(local, {})


@dataclass(frozen=True)
class FedDst(ErkMask):
    """The method of the paper, from the ERK magnitude mask."""

    name: ClassVar[str] = "feddst"
    tiered: ClassVar[bool] = False
    adjusts: ClassVar[bool] = True
    device_type: ClassVar[type[DeviceHalf]] = Regrow
    one_shot: ClassVar[bool] = False

    @override
    def combine(
        self, graph: Graph, results: Sequence[TrainResult], combiner: Combiner
    ) -> SparseModel:
        """Average per weight over its holders, then keep as many as were sent."""
        counts = [result.count for result in results]
        weights = {}
        for name, sent in results[0].model.weights.items():
            mean = combiner.sparse([result.model.weights[name] for result in results], counts)
            weights[name] = keep_largest(mean, sent.nnz)
        dense = average_dense(graph, results, self.settings.bn_pooling, combiner)
        return SparseModel(weights, dense)
