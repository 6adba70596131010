"""FedShape: the shape of equal bytes that a federation trains best, found by a race. Ours.

**Why.** A sparse model of density d on the wire and in flash takes

    B(w, d) = 4 · (d · n(w) + e(w)) + i(w, d)    bytes

at width w: n prunable weights grow with w², e (first and last layer, biases, batch norms) with w,
and i are the packed masks. FedTiny and its rivals vary the mask under one w. At 1 % of a small
network e is two thirds to three quarters of B, whole channels are dead, and activations cost full
width; a dense net so narrow that B is the same has too few channels. The best lies between, and
where depends on data and budget (docs/results/study.md, "the exhaustive search").

**What.** Candidates are the shapes (w, d(w)) with B(w, d(w)) ≤ B(1, ``pruning.density``): the
network itself, the widest dense net that fits, and others in geometric progression between them
(:func:`fedtiny.tiers.equal_bytes.equal_bytes`). Each is pre-trained on the public samples and
keeps the largest |θ| at Erdős-Rényi-kernel densities. Then they *race* (successive halving,
Jamieson and Talwalkar 2016), because losses of freshly pruned networks are near chance. In a heat
every candidate is trained for H rounds, which take as many laps each as there are candidates: every
device trains every candidate, one a lap (:mod:`fedtiny.methods.race`). The learning rate falls
within a heat as in a whole run, because at a high one losses after an average say more of its
accidents than of the shape. Then devices measure all candidates on their development samples, and
the better half goes on. Of the last ones the narrowest whose loss is within a standard error over
devices of the best one's wins. Its weights as trained by then go into round 1, its mask stays.

**Cost.** With C candidates H · (C + ⌊C/2⌋ + …) laps, each as much training, and as many bytes, as a
round; 6 for C = 3 and H = 2. They come on top of ``federation.rounds``: set those lower by as many
to compare at equal training. H laps a heat are the winner's own, and not lost to it: 2 of those 6.

Different from FedTiny's paper: no weight grows or is pruned after round 1, and no statistics are
re-estimated for selection; the pool varies the network, not the layers' densities; the winner's
density is that of its shape, above ``pruning.density``. Layers share weights out as
Erdős-Rényi-kernel densities do, fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from typing_extensions import override

from fedtiny.methods.method import Method, Prepared, Start
from fedtiny.methods.race import Race, Racer, survivors
from fedtiny.methods.settings import PruningSettings
from fedtiny.models.graph import Graph
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.pruning.masks import layer_masks
from fedtiny.pruning.paired import Comparison
from fedtiny.settings import Count
from fedtiny.sparse.tensor import Floats, Mask, SparseTensor
from fedtiny.tiers.block import block_of
from fedtiny.tiers.config import TiersConfig
from fedtiny.tiers.equal_bytes import Shape, equal_bytes
from fedtiny.tiers.policies.equal_bytes import EqualBytes
from fedtiny.tiers.policy import Policy
from fedtiny.training.learning_rate import progress


class FedShapeSettings(PruningSettings):
    """What only FedShape has.

    Attributes:
        shapes: size C of the pool; 1 for the network itself, and no race.
        heat_rounds: H, that every shape is trained for before some drop out; with one alone the
            learning rate does not fall.
    """

    shapes: Count = 3
    heat_rounds: Count = 2

    def laps(self, shapes: int) -> int:
        """Rounds' worth of training that a race of so many shapes takes.

        >>> FedShapeSettings().laps(3), FedShapeSettings().laps(5)
        (6, 14)
        """
        return self.heat_rounds * shapes + self.laps(shapes // 2) if shapes > 1 else 0


@dataclass(frozen=True)
class FedShape(Method[FedShapeSettings]):
    """A race of shapes of equal bytes; then federated averaging under the winner's mask."""

    name: ClassVar[str] = "fedshape"
    trains_first: ClassVar[bool] = True

    @override
    @classmethod
    def settings_type(cls) -> type[FedShapeSettings]:
        return FedShapeSettings

    @override
    def policy(self, tiers: TiersConfig) -> Policy:
        return EqualBytes(tiers, self.density, self.settings.shapes)

    @override
    def prepare(self, start: Start) -> Prepared:
        trials = start.trials
        pool = equal_bytes(start.graph, self.density, self.settings.shapes)
        fitting = [shape for shape in pool if shape.tier.width <= trials.largest.width]
        racers = [self._racer(start, shape) for shape in fitting]
        race = Race(trials, start.normalization, self.settings.bn_pooling)
        heats: list[dict[str, Any]] = []
        laps = flops = trained = 0
        while len(racers) > 1:
            for number in range(1, self.settings.heat_rounds + 1):
                trained += 1
                laps += len(racers)
                flops += sum(racer.training_flops for racer in racers)
                racers = race.train(racers, trained, progress(number, self.settings.heat_rounds))
            found = race.compare(racers)
            left = survivors(found)
            heats.append(_told(racers, found, left))
            racers = [racers[k] for k in left]
        (winner,) = racers
        story = {
            "method": self.name,
            "scores": "magnitude" if start.pretrained else "random",
            "race": {"laps": laps, "training_flops": flops, "heats": heats},
        }
        return Prepared(_whole(start, winner), story, tier=winner.shape.tier)

    def _racer(self, start: Start, shape: Shape) -> Racer:
        block = block_of(start.graph, shape.tier.width)
        state = start.state if block.is_whole else start.trials.pretrain(block)
        weights = {name: state[ParameterKind.WEIGHT.of(name)] for name in shape.counts}
        masks = layer_masks(weights, shape.counts)
        return Racer(shape, block, from_state(block.graph, state, masks))

    @override
    def planned_counts(self, graph: Graph) -> dict[str, int]:
        return dict(equal_bytes(graph, self.density, 1)[0].counts)

    @property
    @override
    def laps(self) -> int:
        return self.settings.laps(self.settings.shapes)

    @property
    @override
    def development_passes(self) -> int:
        left, passes = self.settings.shapes, 0
        while left > 1:
            passes, left = passes + left, left // 2
        return passes


def _whole(start: Start, winner: Racer) -> SparseModel:
    """The winner in the positions of the whole model; nothing is present outside of it."""
    block = winner.block
    if block.is_whole:
        return winner.model
    weights = {}
    for name, weight in winner.model.weights.items():
        axes = block.weight(name)
        mask = Mask(axes.shape, axes.outside(weight.mask.indices))
        weights[name] = SparseTensor(mask, weight.values)
    dense: dict[str, Floats] = {
        name: block.axes[name].spread(array, start.state[name])
        for name, array in winner.model.dense.items()
    }
    return SparseModel(weights, dense)


def _told(racers: Sequence[Racer], found: Comparison, left: Sequence[int]) -> dict[str, Any]:
    """A heat, for the report."""
    return {
        "widths": [racer.shape.tier.width for racer in racers],
        "weights": [racer.model.nnz for racer in racers],
        "bytes": [racer.shape.bytes for racer in racers],
        "losses": list(found.losses),
        "excesses": list(found.excesses),
        "errors": list(found.errors),
        "left": list(left),
    }
