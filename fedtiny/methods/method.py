"""What makes one federated method differ from another; the round loop is the same for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from fedtiny.aggregation.combiner import Combiner
from fedtiny.aggregation.models import average
from fedtiny.data.dataset import Dataset
from fedtiny.data.statistics import Normalization
from fedtiny.methods.device import DeviceHalf
from fedtiny.methods.settings import PruningSettings
from fedtiny.methods.trials import Trials
from fedtiny.models.graph import Graph
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, sparse_names
from fedtiny.pruning.bn_selection import Moments
from fedtiny.pruning.schedule import PruningSchedule
from fedtiny.sparse.densities import budgeted_counts, layer_counts, uniform, weight_budget
from fedtiny.sparse.tensor import Floats
from fedtiny.tiers.block import Block
from fedtiny.tiers.config import TiersConfig
from fedtiny.tiers.policies import policy_of
from fedtiny.tiers.policy import Policy
from fedtiny.tiers.rings import Rings
from fedtiny.tiers.tier import Tier
from fedtiny.training.trainer import Trainer
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from fedtiny.wire.train import TrainResult

Result = TypeVar("Result")
Settings = TypeVar("Settings", bound=PruningSettings)

Memory = Mapping[str, Floats]
"""What a method remembers from round to round, by name; saved with every checkpoint."""


class Ask(Protocol):
    """Asks devices something and waits for their answers."""

    def __call__(
        self,
        phase: Phase,
        pack: Callable[[Block], Packet],
        read: Callable[[Block, Packet], Result],
    ) -> Sequence[tuple[Block, Result]]:
        """Ask all devices; their parts, and what ``read`` makes of replies, in partition order.

        Args:
            phase: what devices are asked to do.
            pack: the message to those that hold a part of the model; called once for each part.
            read: (part, reply) to a result; raises FedTinyError if the reply is not one.
        """


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What the server knows before round 1.

    Attributes:
        graph: the model.
        state: pre-trained dense parameters and statistics by name.
        pretrained: whether magnitudes in ``state`` mean anything.
        public: the samples it was pre-trained on.
        normalization: merged from the devices.
        ask: to ask devices with.
        dense_trainer: the server's own trainer of a model without absent weights.
        trials: for a method whose devices do more than look before round 1.
        ranked: scores by which weights are kept, made to fill the parts of devices as dense as
            they are to be; where all devices hold the whole model, the scores themselves.
    """

    graph: Graph
    state: Mapping[str, Floats]
    pretrained: bool
    public: Dataset
    normalization: Normalization
    ask: Ask
    trials: Trials
    dense_trainer: Callable[[SparseModel], Trainer]
    ranked: Callable[[Mapping[str, Floats]], Mapping[str, Floats]]

    @property
    def weights(self) -> dict[str, Floats]:
        """Dense weights of the prunable layers by layer name."""
        return {
            name: self.state[ParameterKind.WEIGHT.of(name)] for name in sparse_names(self.graph)
        }


@dataclass(frozen=True, slots=True, eq=False)
class RoundEnd:
    """What the server knows after a round of training.

    Attributes:
        round: counted from 1.
        graph: the model's architecture.
        model: combined of the devices'.
        results: the devices', at least one, in partition order, each in the positions of its part.
        blocks: the devices' parts, in the same order.
        rings: where parts lie in each other: the number of weights of each stays.
        memory: what the method remembered after the round before.
    """

    round: int
    graph: Graph
    model: SparseModel
    results: Sequence[TrainResult]
    blocks: Sequence[Block]
    rings: Rings
    memory: Memory


@dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """A model whose masks may have changed, for the next round, and what to remember."""

    model: SparseModel
    memory: Memory = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The model that enters round 1, and how it was chosen (JSON-able, for the report).

    Attributes:
        model: whole.
        story: JSON-able.
        statistics: batch norm's of the winner, by part, where devices measured them.
        tier: the part that all devices are to train, if the method found one; the model is empty
            outside of it.
        memory: what the method remembers of it.
    """

    model: SparseModel
    story: Mapping[str, Any]
    statistics: Mapping[Block, Mapping[str, Moments]] = field(default_factory=dict)
    tier: Tier | None = None
    memory: Memory = field(default_factory=dict)


@dataclass(frozen=True)
class Method(ABC, Generic[Settings]):
    """A federated method: its settings, what the server does, what devices do.

    One file each, and one line in :data:`fedtiny.methods.METHODS`. A method overrides what it does
    differently from federated averaging under a fixed mask. All hooks are pure but for the messages
    that ``prepare`` sends through ``start.ask``.

    Attributes:
        settings: of the run's ``[pruning]`` section, those the method knows.
        rounds: of the run.
        seed: of the run.

    >>> from fedtiny.config import parse
    >>> method = parse({"pruning": {"method": "fedtiny", "density": 0.01}}).method
    >>> method.name, method.adjusts, method.schedule.stop
    ('fedtiny', True, 15)
    """

    name: ClassVar[str]
    """Value of ``pruning.method``."""
    dense_model: ClassVar[bool] = False
    """No weight of the graph is ever absent."""
    dense_step: ClassVar[bool] = False
    """Devices hold every weight and its gradient at least once."""
    adjusts: ClassVar[bool] = False
    """Masks change during training."""
    tiered: ClassVar[bool] = False
    """Devices may train parts of the model (``tiers.policy``)."""
    remasks: ClassVar[bool] = False
    """The server changes masks after every round; devices report nothing for it."""
    trains_first: ClassVar[bool] = False
    """Devices train before round 1, where no simulated clock runs."""
    one_shot: ClassVar[bool] = False
    """Masks are chosen once, before round 1: what FedTiny's paper compares with."""
    device_type: ClassVar[type[DeviceHalf]] = DeviceHalf
    """What devices do in rounds with quotas, and what they send."""

    settings: Settings
    rounds: int
    seed: int

    @classmethod
    def settings_type(cls) -> type[PruningSettings]:
        """The method's settings; more than :class:`PruningSettings` if it declares its own."""
        return PruningSettings

    @property
    def device(self) -> DeviceHalf:
        """What devices do in rounds with quotas, under the method's settings."""
        return self.device_type()

    @property
    def schedule(self) -> PruningSchedule:
        """When which layers are adjusted."""
        return self.settings.schedule(self.rounds)

    @property
    def saved_density(self) -> float:
        """Part of the saved activations that devices keep for the backward pass."""
        return 1.0

    @property
    def density(self) -> float:
        """Density of the models that devices train."""
        return 1.0 if self.dense_model else self.settings.density

    def policy(self, tiers: TiersConfig) -> Policy | None:
        """Who trains which part of the model; None: everybody all of it."""
        return policy_of(tiers, self.density)

    def architecture(self, graph: Graph) -> Graph:
        """The graph that is trained in place of the one the config names."""
        return graph

    def check(self, graph: Graph) -> None:
        """Before any work: whether there is a model of ``graph`` at this density.

        Raises:
            SparseError: it leaves fewer weights than there are prunable layers.
        """
        if not self.dense_model:
            sizes = {layer.name: prod(layer.weight_shape) for layer in graph.prunable_layers}
            budgeted_counts(uniform(sizes, self.density), sizes, weight_budget(sizes, self.density))

    @abstractmethod
    def prepare(self, start: Start) -> Prepared:
        """The model of round 1."""

    def quotas(self, round: int, graph: Graph, model: SparseModel) -> Mapping[str, int]:
        """How many weights may change in ``round``, by layer; empty: masks stay."""
        return self.scheduled_quotas(round, graph, model) if self.adjusts else {}

    def scheduled_quotas(self, round: int, graph: Graph, model: SparseModel) -> dict[str, int]:
        """a_l of the layers whose turn it is in ``round``, in graph order."""
        counter = self.schedule.adjustment(round)
        if counter is None:
            return {}
        quotas = {}
        for name in self.schedule.block(graph, counter):
            mask = model.weights[name].mask
            quota = self.schedule.quota(round, mask.nnz, mask.size)
            if quota:
                quotas[name] = quota
        return quotas

    def combine(
        self, graph: Graph, results: Sequence[TrainResult], combiner: Combiner
    ) -> SparseModel:
        """One model of the devices' (at least one, in partition order)."""
        return average(graph, results, self.settings.bn_pooling, combiner)

    def adjust(self, end: RoundEnd) -> Adjusted:
        """The combined model under the masks of the next round."""
        return Adjusted(end.model)

    def planned_counts(self, graph: Graph) -> dict[str, int]:
        """Weights held by layer, where that is known before the run: for its forecast."""
        sizes = {layer.name: prod(layer.weight_shape) for layer in graph.prunable_layers}
        return layer_counts(uniform(sizes, self.density), sizes)

    @property
    def laps(self) -> int:
        """Rounds' worth of training that ``prepare`` asks of every device."""
        return 0

    @property
    def development_passes(self) -> int:
        """How often ``prepare`` has every device go through its development samples."""
        return 0
