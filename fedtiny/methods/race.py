"""A race of models over real training: who is behind on devices' held-out samples drops out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from fedtiny.aggregation.models import average
from fedtiny.data.statistics import Normalization
from fedtiny.methods.trials import Trials
from fedtiny.models.cost import training_flops
from fedtiny.models.sparse_model import SparseModel
from fedtiny.pruning.bn_selection import BnPooling
from fedtiny.pruning.candidates import CandidatePool
from fedtiny.pruning.paired import Comparison, compare
from fedtiny.tiers.block import Block
from fedtiny.tiers.equal_bytes import Shape
from fedtiny.wire.candidates import CandidateLosses, CandidatesTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.part import about_part
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult, TrainTask


@dataclass(frozen=True, slots=True, eq=False)
class Racer:
    """One shape.

    Attributes:
        shape: width and density.
        block: where it lies in the model.
        model: as far as it is trained.
    """

    shape: Shape
    block: Block
    model: SparseModel

    @property
    def training_flops(self) -> int:
        """Of one sample in one training step."""
        nnz = {name: weight.nnz for name, weight in self.model.weights.items()}
        return training_flops(self.block.graph, nnz)


@dataclass(frozen=True, slots=True)
class Race:
    """How racers are trained and compared.

    Attributes:
        trials: the server's means.
        normalization: of inputs.
        pooling: of batch-norm statistics.
    """

    trials: Trials
    normalization: Normalization
    pooling: BnPooling

    def train(self, racers: Sequence[Racer], number: int, progress: float) -> list[Racer]:
        """Every racer after one round of every device's training, which takes a lap per racer.

        In a lap racers are trained by disjoint groups of devices, and after as many laps as there
        are racers every device has trained each once, from the same start: a round of federated
        averaging for each. A device trains one model a lap, as in a round. Comparing what different
        few devices made would compare the devices.

        Args:
            racers: at least one.
            number: of the round in the race, counted from 1.
            progress: of the learning rate, in [0, 1].
        """
        many, drawn = len(racers), self.trials.draw(number)
        packets = [self._task(racer, number, progress) for racer in racers]
        replies: list[dict[int, TrainResult]] = [{} for _ in racers]
        for lap in range(many):
            lanes = lanes_of(drawn, many, lap)
            results = self._ask(racers, lanes, packets)
            for partition, result in results.items():
                replies[lanes[partition]][partition] = result
        return [self._after(*pair) for pair in zip(racers, replies, strict=True)]

    def compare(self, racers: Sequence[Racer]) -> Comparison:
        """By losses on the development samples of those devices that measured every racer.

        Raises:
            SelectionError: nobody did.
        """
        devices = self.trials.draw(0)
        replies = []
        for racer in racers:
            packet = about_part(self._look(racer), racer.block.width)
            asked = dict.fromkeys(devices, packet)
            replies.append(self.trials.ask(Phase.CANDIDATE_LOSSES, asked, _losses))
        return compare(replies, "set another pruning.method")

    def _ask(
        self, racers: Sequence[Racer], lanes: Mapping[int, int], packets: Sequence[Packet]
    ) -> Mapping[int, TrainResult]:
        def read(partition: int, packet: Packet) -> TrainResult:
            racer = racers[lanes[partition]]
            return TrainResult.read(racer.block.graph, partition, racer.model.masks, packet)

        asked = {partition: packets[lane] for partition, lane in lanes.items()}
        return self.trials.ask(Phase.TRAIN, asked, read)

    def _after(self, racer: Racer, replies: Mapping[int, TrainResult]) -> Racer:
        results = [replies[k] for k in sorted(replies)]
        if not results:
            return racer
        graph, combiner = racer.block.graph, self.trials.combiner
        return replace(racer, model=average(graph, results, self.pooling, combiner))

    def _task(self, racer: Racer, number: int, progress: float) -> Packet:
        task = TrainTask(number, racer.model, self.normalization, {}, False, progress)
        return about_part(task.packet(racer.block.graph), racer.block.width)

    def _look(self, racer: Racer) -> Packet:
        pool = CandidatePool.of(racer.model.weights)
        task = CandidatesTask(pool, racer.model.dense, self.normalization, None)
        return task.packet(racer.block.graph)


def lanes_of(devices: Sequence[int], racers: int, lap: int) -> dict[int, int]:
    """By device, which racer it trains in a lap: groups are disjoint and as even as they can be.

    >>> [lanes_of([3, 4, 8], 2, lap) for lap in (0, 1)]
    [{3: 0, 4: 1, 8: 0}, {3: 1, 4: 0, 8: 1}]
    """
    return {device: (place + lap) % racers for place, device in enumerate(devices)}


def survivors(found: Comparison) -> list[int]:
    """Who goes on: the better half, in order; of two or three, one.

    The last one is the narrowest of those that are as good as the best within a standard error of
    the measurement: it has as many bytes and needs less memory (Breiman et al. 1984,
    "Classification and Regression Trees", section 3.4.3).

    >>> survivors(Comparison((2.0, 1.2, 1.0, 1.1, 3.0), (1.0, 0.2, 0.0, 0.1, 2.0), (0.1,) * 5))
    [2, 3]
    >>> survivors(Comparison((1.0, 1.1), (0.0, 0.1), (0.0, 0.2)))
    [1]
    """
    half = len(found.losses) // 2
    if half <= 1:
        return [max(found.as_good)]
    order = sorted(range(len(found.losses)), key=lambda k: found.losses[k])
    return sorted(order[:half])


def _losses(_partition: int, packet: Packet) -> CandidateLosses:
    return CandidateLosses.read(1, packet)
