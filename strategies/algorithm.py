"""What makes one federated method differ from another; the round loop is the same for all."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fedtiny.aggregation.models import average
from fedtiny.config import RunConfig
from fedtiny.data.dataset import Dataset
from fedtiny.data.statistics import Normalization
from fedtiny.models.graph import Graph
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, sparse_names
from fedtiny.pruning.bn_selection import BnPooling
from fedtiny.pruning.schedule import PruningSchedule
from fedtiny.sparse.tensor import Floats
from fedtiny.wire.results import TrainResult
from strategies.exchange import Exchange

Memory = Mapping[str, Floats]
"""What a method remembers from round to round, by name; saved with every checkpoint."""


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What the server knows before round 1.

    Attributes:
        config, graph: of the run.
        state: pre-trained dense parameters and statistics by name.
        pretrained: whether magnitudes in ``state`` mean anything.
        public: the samples it was pre-trained on.
        normalization: merged from the devices.
        partitions: all of them, ascending.
        exchange: to ask devices with.
    """

    config: RunConfig
    graph: Graph
    state: Mapping[str, Floats]
    pretrained: bool
    public: Dataset
    normalization: Normalization
    partitions: list[int]
    exchange: Exchange

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
        results: the devices', at least one, in partition order.
        memory: what the method remembered after the round before.
    """

    round: int
    graph: Graph
    model: SparseModel
    results: Sequence[TrainResult]
    memory: Memory


@dataclass(frozen=True, slots=True, eq=False)
class Adjusted:
    """A model whose masks may have changed, for the next round, and what to remember."""

    model: SparseModel
    memory: Memory = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """The model that enters round 1, and how it was chosen (JSON-able, for the report)."""

    model: SparseModel
    story: Mapping[str, Any]


class Algorithm(ABC):
    """A federated method: how the first model is made, and how its masks change.

    A method overrides what it does differently from federated averaging under a fixed mask. All
    hooks are pure but for the messages ``prepare`` sends through ``start.exchange``. What devices
    do in a round with quotas is the method's :class:`~fedtiny.config.methods.DeviceRule`.
    """

    @abstractmethod
    def prepare(self, start: Start) -> Prepared:
        """The model of round 1."""

    def quotas(self, round: int, graph: Graph, model: SparseModel) -> Mapping[str, int]:
        """How many weights may change in ``round``, by layer; empty: masks stay."""
        return {}

    def combine(
        self, graph: Graph, results: Sequence[TrainResult], pooling: BnPooling
    ) -> SparseModel:
        """One model of the devices' (at least one, in partition order)."""
        return average(graph, results, pooling)

    def adjust(self, end: RoundEnd) -> Adjusted:
        """The combined model under the masks of the next round."""
        return Adjusted(end.model)


def scheduled_quotas(
    schedule: PruningSchedule, round: int, graph: Graph, model: SparseModel
) -> dict[str, int]:
    """a_l of the layers whose turn it is in ``round``, in graph order."""
    counter = schedule.adjustment(round)
    if counter is None:
        return {}
    quotas = {}
    for name in schedule.block(graph, counter):
        mask = model.weights[name].mask
        quota = schedule.quota(round, mask.nnz, mask.size)
        if quota:
            quotas[name] = quota
    return quotas
