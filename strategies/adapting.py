"""After the rounds: devices adapt the finished model to their own data, alone or together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, replace

import numpy as np

from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.recipe import Recipe, Task
from fedtiny.aggregation.bounds import implausible_lengths, implausible_ranges
from fedtiny.aggregation.ranges import merge_ranges
from fedtiny.config import RunConfig
from fedtiny.config.adapt import AdaptUse
from fedtiny.data.dataset import Dataset
from fedtiny.data.samples import Samples
from fedtiny.data.server import ServerData
from fedtiny.devices.budget import engine_of
from fedtiny.federation.described import counted, most_samples
from fedtiny.federation.parts import grouped
from fedtiny.federation.round import Federation
from fedtiny.federation.state import ServerState
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.adapt_events import Adapted, AdaptedTested
from fedtiny.runs.event_parts import Group
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sparse.tensor import Floats
from fedtiny.training.trainer import Ranges
from fedtiny.wire.adapt import AdaptResult, AdaptTask
from fedtiny.wire.kept import to_keep, to_recall
from fedtiny.wire.model_task import ModelTask
from fedtiny.wire.packet import Packet
from fedtiny.wire.part import about_part
from fedtiny.wire.phase import Phase
from strategies.exchange import Exchange
from strategies.introductions import Introductions
from strategies.observer import Observer
from strategies.trained import Trained


@dataclass(frozen=True)
class Adapting:
    """Of one run.

    Attributes:
        config, federation: of the run.
        data: has the people who take no part.
        exchange: to ask devices with.
        observer: is told what each device came to.
        introductions: of devices that were asked nothing so far.
    """

    config: RunConfig
    federation: Federation
    data: ServerData
    exchange: Exchange
    observer: Observer
    introductions: Introductions

    def run(self, state: ServerState, trained: Trained) -> Trained:
        """``trained`` with what devices learned together, if they were to.

        Raises:
            FederationError: too many devices failed.
        """
        match self.config.federation.adapt:
            case AdaptUse.OFF:
                return trained
            case AdaptUse.LOCAL:
                self._locally(state)
                return trained
            case AdaptUse.FEDERATED:
                method = self.config.adapt.method.value
                return replace(trained, adapted={method: self._together(state, trained.model)})

    def _locally(self, state: ServerState) -> None:
        """Each learns of its own data, beside the part of the model that it has."""
        at = self._round(1)
        asked, parts, packets = self._asked(at), self.federation.parts(state), dict[int, Packet]()
        for tier, some in grouped((k, parts.given(k)) for k in asked).items():
            block = parts.block(tier, state.round)
            model = self.federation.model(state, tier, state.round)
            task = AdaptTask(ModelTask(model, state.normalization), 1)
            packets |= dict.fromkeys(some, about_part(task.packet(block.graph), block.width))
        read = self._reader(self.federation.graph, 0)
        self._tell(1, self.exchange.ask(Phase.ADAPT, at, dict(sorted(packets.items())), read))

    def _together(self, state: ServerState, finished: TrainedModel) -> TrainedModel:
        """Rounds in which what is trained travels; the adapted model."""
        recipe, task = self._recipe(finished), ModelTask(finished.model, state.normalization)
        values, rounds = recipe.values(recipe.model), self.config.adapt.rounds
        informed: set[int] = set()  # devices that answered: they have the backbone
        for round in range(1, rounds + 1):
            given = values if round > 1 else None
            asked = self._asked(self._round(round))
            results = self._ask(recipe, AdaptTask(task, round, given), asked, informed)
            informed = (informed - set(asked)) | results.keys()
            self._tell(round, results)
            values = self._combined(round, values, results)
        adapted = recipe.at(values)
        test = AdaptTask(task, rounds + 1, values, learn=False)
        results = self._ask(recipe, test, self._asked(self._round(rounds + 1)), informed)
        self._tell_tests(finished, adapted, results)
        ranges = self._ranges(rounds + 1, results)
        return replace(finished, graph=adapted.graph, model=adapted.model, ranges=ranges)

    def _recipe(self, finished: TrainedModel) -> Recipe:
        """As devices make it: the method may look at no data."""
        x = np.zeros((0, *finished.graph.input_shape), np.float32)
        task = Task(finished.graph, finished.model, x, np.zeros(0, np.int64), self.config.seed)
        return METHODS[self.config.adapt.method](task)

    def _ask(
        self, recipe: Recipe, task: AdaptTask, asked: Sequence[int], informed: Set[int]
    ) -> dict[int, AdaptResult]:
        """One message to every device, with the backbone to those that are not informed."""
        at, graph = self._round(task.round), self.federation.graph
        whole = to_keep(task.packet(graph))
        rest = to_recall(task.packet(graph, is_kept=True))
        packets = {k: rest if k in informed else whole for k in asked}
        size = recipe.values(recipe.model).size
        read = self._reader(recipe.graph, size, task.learn)
        return self.exchange.ask(Phase.ADAPT, at, packets, read)

    def _round(self, lesson: int) -> int:
        """As exchanges count: no two have one number, so that a reply answers one of them."""
        return self.config.federation.rounds + lesson

    def _asked(self, round: int) -> list[int]:
        asked = self.exchange.asked(Phase.ADAPT, round)
        self.introductions.meet(asked, round)
        return asked

    def _reader(
        self, graph: Graph, size: int, learned: bool = True
    ) -> Callable[[int, Packet], AdaptResult]:
        described, factor = self.introductions.described, self.config.trust.samples_factor

        def read(partition: int, packet: Packet) -> AdaptResult:
            tested = most_samples(described, factor, Phase.EVALUATE, partition)
            return AdaptResult.read(graph, learned, size, tested, packet)

        return counted(described, factor, Phase.ADAPT, read)

    def _combined(self, round: int, values: Floats, results: Mapping[int, AdaptResult]) -> Floats:
        """The believed replies as one, in partition order."""
        sent = {k: one.trained for k, one in results.items() if one.trained is not None}
        lengths = {k: float(np.linalg.norm(array - values)) for k, array in sent.items()}
        odd = implausible_lengths(lengths, self.config.trust.update_factor)
        self.exchange.doubt(Phase.ADAPT, self._round(round), odd)
        kept = [k for k in sorted(sent) if k not in odd]
        counts = [results[k].count for k in kept]
        return self.config.trust.combiner.dense([sent[k] for k in kept], counts)

    def _ranges(self, round: int, results: Mapping[int, AdaptResult]) -> Ranges:
        reported = {k: one.ranges.ranges for k, one in results.items() if one.ranges is not None}
        odd = implausible_ranges(reported, self.config.trust.update_factor)
        self.exchange.doubt(Phase.ADAPT, self._round(round), odd)
        return merge_ranges(one for k, one in sorted(reported.items()) if k not in odd)

    def _tell(self, lesson: int, results: Mapping[int, AdaptResult]) -> None:
        for partition, one in results.items():
            if one.costs is None:
                continue
            self.observer.on_event(
                Adapted(
                    self._round(lesson),
                    lesson,
                    partition,
                    one.count,
                    one.loss,
                    one.tested,
                    one.correct_before,
                    one.correct_after,
                    one.costs.micro_batch,
                    one.costs.saved_bytes,
                    one.costs.predicted_peak_bytes,
                    one.costs.peak_bytes,
                )
            )

    def _tell_tests(
        self, finished: TrainedModel, adapted: Recipe, results: Mapping[int, AdaptResult]
    ) -> None:
        """What the adapted model is worth: to participants, and to people who took no part."""
        for partition, one in results.items():
            tests = one.tested, one.correct_before, one.correct_after
            self._told("same_people", partition, *tests)
        unseen = self.data.unseen
        for owner in sorted(set(unseen.owner.tolist())):
            person = unseen.take((unseen.owner == owner).nonzero()[0])
            before, after = (
                self._correct(graph, model, finished, person)
                for graph, model in (
                    (finished.graph, finished.model),
                    (adapted.graph, adapted.model),
                )
            )
            self._told("unseen_people", owner, len(person), before, after)

    def _correct(
        self, graph: Graph, model: SparseModel, finished: TrainedModel, data: Dataset
    ) -> int:
        trainer = engine_of(self.config).evaluator(graph, model)
        return trainer.evaluate(Samples(data, finished.normalization)).correct

    def _told(self, group: Group, who: int, count: int, before: int, after: int) -> None:
        round = self._round(self.config.adapt.rounds + 1)
        self.observer.on_event(AdaptedTested(round, group, who, count, before, after))
