"""Any method of ours as one of Flower's strategies, for a ServerApp of one's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from logging import INFO
from pathlib import Path

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message, MetricRecord
from flwr.serverapp import Grid
from flwr.serverapp.strategy import Result, Strategy
from flwr.supercore import log
from typing_extensions import override

from fedtiny.config import RunConfig
from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sparse.tensor import Floats
from fedtiny.training.trainer import Evaluation
from fedtiny.wire.packet import Packet
from fedtiny.wire.phase import Phase
from strategies.app import server_of
from strategies.observer import Observer
from strategies.post import addressed

Evaluate = Callable[[int, ArrayRecord], MetricRecord | None]
"""A user's own evaluation of the global model: (round, its arrays) to metrics."""


class StrategyError(FedTinyError):
    """A strategy was asked for what only its run's config decides."""


class FedTinyStrategy(Strategy):
    """A config's method as a strategy; devices run ``clients.app``, or an app made of it.

    The same model, byte for byte, as :func:`strategies.app.run`: both are shells around
    :mod:`fedtiny.federation.round`. Its folder afterwards is a run's: ``fedtiny export`` and
    ``fedtiny report`` take it.

    Different from strategies of Flower's:

    * Messages hold sparse values in mask order and encoded masks, not arrays by parameter name.
      Wrappers that read or change a reply's arrays (differential privacy, secure aggregation)
      cannot be put around it: see docs/decisions/12.
    * ``arrays`` are what an ``evaluate_fn`` reads: the global model, dense, by parameter name. What
      is trained next stays in the strategy; other arrays are refused.
    * Devices and server take their settings from the run's config, rounds included.
    * Flower's loop waits for every reply and runs every round, so ``federation.over_selection``
      and ``stopping.patience`` are refused, and it begins with round 1, so a run that broke off is
      resumed by :func:`strategies.app.run`.

    Args:
        config: of the run.
        folder: of the run; config, metrics, checkpoints and model are written there.
        shares: folder with the server's own samples; by default ``data`` in ``folder``.
        observers: watch besides the metrics file.

    Attributes:
        trained: the trained model, once ``start`` has returned.

    Raises:
        StrategyError: see above.
    """

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        shares: Path | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        for key, is_set, why in (
            ("federation.over_selection", config.federation.enough, "waits for every reply"),
            ("clock.mode", config.clock.is_on, "has no simulated clock"),
            ("stopping.patience", config.stopping.patience, "runs every round"),
        ):
            if is_set:
                raise StrategyError(
                    f"{key}: Flower's loop {why}; leave it out, or use strategies.app.run"
                )
        self._config = config
        self._folder = RunFolder(folder)
        self._shares = shares
        self._observers = observers
        self.trained: TrainedModel | None = None

    @override
    def start(
        self,
        grid: Grid,
        initial_arrays: ArrayRecord | None = None,
        num_rounds: int | None = None,
        timeout: float | None = None,
        train_config: ConfigRecord | None = None,
        evaluate_config: ConfigRecord | None = None,
        evaluate_fn: Evaluate | None = None,
    ) -> Result:
        """The whole run, from descriptions to calibration.

        Args:
            grid: connects to one node per partition.
            initial_arrays: dense parameters and batch-norm statistics by name, to pre-train from;
                random ones without it.
            num_rounds: ``federation.rounds``, or nothing.
            timeout: ``federation.timeout_s``, or nothing: seconds that replies may take.
            train_config, evaluate_config: nothing: devices have the run's config.
            evaluate_fn: called with the model of round 1 before it and the combined one after each.

        Raises:
            StrategyError: arguments that contradict the config.
            FedTinyError: as :func:`strategies.app.run`.
        """
        rounds = self._config.federation.rounds
        wait_s = self._config.federation.timeout_s
        for name, given, key, own in (
            ("num_rounds", num_rounds, "rounds", rounds),
            ("timeout", timeout, "timeout_s", wait_s),
        ):
            if given not in (None, own):
                raise StrategyError(
                    f"{name} = {given}, but the run was made for federation.{key} = {own}; change "
                    "it there"
                )
        if train_config or evaluate_config:
            raise StrategyError(
                "train_config and evaluate_config reach no device: FedTiny's have the run's "
                "config; write settings there"
            )
        self._server = server = server_of(
            self._config, grid, self._folder, self._observers, self._shares
        )
        initial = None if initial_arrays is None else read_state(server.graph, initial_arrays)
        with server.observed():
            server.join()
            self._state = server.prepare(initial)
            self._arrays = to_arrays(self._state.model)
            result = super().start(grid, self._arrays, rounds, wait_s, evaluate_fn=evaluate_fn)
            trained = server.leave(self._state)
        self.trained = trained.model
        result.arrays = to_arrays(self.trained.model)
        trained.save(self._folder)
        return result

    @override
    def configure_train(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Tasks for the round's participants; nodes that are new were taken in before."""
        if arrays is not self._arrays:
            raise StrategyError(
                "the arrays to train are not those of the round before: a FedTinyStrategy keeps "
                "its model itself; start it with initial_arrays instead"
            )
        self._server.join(server_round)
        self._round = self._server.begin(self._state, server_round)
        return self._messages(Phase.TRAIN, self._round.task.packets())

    @override
    def aggregate_train(
        self, server_round: int, replies: Iterable[Message]
    ) -> tuple[ArrayRecord, MetricRecord]:
        """The combined model, dense, and ``loss`` and ``density``."""
        reader = self._server.reader(self._round)
        results = self._server.exchange.incoming(self._sent, self._by_node(replies), reader)
        self._after, self._facts = self._server.finish(self._round, results)
        self._arrays = to_arrays(self._facts.combined.model)
        density = self._after.model.density
        return self._arrays, MetricRecord({"loss": self._facts.loss, "density": density})

    @override
    def configure_evaluate(
        self, server_round: int, arrays: ArrayRecord, config: ConfigRecord, grid: Grid
    ) -> Iterable[Message]:
        """Tasks for all devices in the rounds that ``federation.evaluate_every`` names."""
        evaluation = self._server.evaluation
        if not evaluation.due(server_round):
            return []
        self._after, self._facts = self._server.choose(server_round, self._after, self._facts)
        packets = evaluation.packets(server_round, self._facts.combined)
        return self._messages(Phase.EVALUATE, packets)

    @override
    def aggregate_evaluate(
        self, server_round: int, replies: Iterable[Message]
    ) -> MetricRecord | None:
        """``accuracy`` and ``loss`` over the participants' test samples; the round is over."""
        metrics = None
        if self._server.evaluation.due(server_round):
            metrics = self._evaluated(server_round, self._by_node(replies))
        self._server.tell(self._round, self._after, self._facts)
        self._state = self._server.save(self._after)
        return metrics

    def _evaluated(self, round: int, replies: Mapping[int, Message]) -> MetricRecord | None:
        combined, evaluation = self._facts.combined, self._server.evaluation
        results = self._server.exchange.incoming(self._sent, replies, evaluation.read)
        evaluation.tell(round, combined, results)
        return _mean([one.evaluation for one in results.values()])

    @override
    def summary(self) -> None:
        """One line in Flower's log."""
        method, density = self._config.method, self._config.method.density
        log(INFO, "\t└──> %s, density %g", method.name, density)

    def _messages(self, phase: Phase, packets: Mapping[int, Packet]) -> list[Message]:
        self._sent = self._server.exchange.outgoing(phase, self._round.task.round, packets)
        self._posted = addressed(self._sent.contents, phase.action, self._sent.round)
        return self._posted

    def _by_node(self, replies: Iterable[Message]) -> dict[int, Message]:
        """A lost node's error has no source: replies are matched by message."""
        received = {reply.metadata.reply_to_message_id: reply for reply in replies}
        posted = ((m.metadata.message_id, m.metadata.dst_node_id) for m in self._posted)
        return {node: received[one] for one, node in posted if one in received}


def to_arrays(model: SparseModel) -> ArrayRecord:
    """A model as dense float32 arrays by parameter name (``stem.weight``, ``stem.bn.bias`` …)."""
    return ArrayRecord({name: Array(array) for name, array in model.to_dense().items()})


def read_state(graph: Graph, arrays: ArrayRecord) -> dict[str, Floats]:
    """The inverse of :func:`to_arrays`, checked.

    Args:
        graph: of the model.
        arrays: float32, every parameter and statistic of the graph and nothing else.

    Raises:
        StrategyError: others, other shapes or types, or numbers that are not finite.
    """
    shapes = {row.name: row.shape for row in graph.parameter_table}
    if arrays.keys() != shapes.keys():
        odd = ", ".join(sorted(arrays.keys() ^ shapes.keys())[:5])
        raise StrategyError(
            f"initial_arrays need the parameters of {graph.name!r}, by name; too many or missing: "
            f"{odd}"
        )
    state = {name: arrays[name].numpy() for name in shapes}
    for name, array in state.items():
        if array.shape != shapes[name] or array.dtype != np.float32:
            raise StrategyError(
                f"initial_arrays[{name!r}] is {array.dtype} {array.shape}, expected float32 "
                f"{shapes[name]}"
            )
        if not np.isfinite(array).all():
            raise StrategyError(f"initial_arrays[{name!r}] has numbers that are not finite")
    return state


def _mean(evaluations: Sequence[Evaluation]) -> MetricRecord | None:
    count = sum(one.count for one in evaluations)
    if count == 0:
        return None
    correct, loss = (sum(getattr(one, k) for one in evaluations) for k in ("correct", "loss_sum"))
    return MetricRecord({"accuracy": correct / count, "loss": loss / count})
