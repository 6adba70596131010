"""Truly sparse training: the compiled engine behind the trainer's interface. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from fedtiny.data.samples import Samples
from fedtiny.engine import EngineOptions, Executor
from fedtiny.models.graph import Graph
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, sparse_names
from fedtiny.pruning.bn_selection import Moments
from fedtiny.sparse.tensor import Floats
from fedtiny.training.penalty import Penalty, low_names
from fedtiny.training.trainer import Evaluation, Growth, Labels, Ranges, SgdConfig


class EngineTrainer:
    """A :class:`~fedtiny.training.trainer.Trainer` that holds non-zeros only.

    Args:
        graph: the model's description.
        model: parameters, statistics and masks to start from.
        sgd: optimizer settings; ``None`` if the trainer will only evaluate.
        options: of the engine.

    Raises:
        EngineError: the engine was not compiled, or cannot run the graph.
    """

    def __init__(
        self,
        graph: Graph,
        model: SparseModel,
        sgd: SgdConfig | None,
        options: EngineOptions,
    ) -> None:
        settings = sgd or SgdConfig(0.0)
        self._graph, self._micro_batch = graph, options.micro_batch
        self._executor = Executor(
            graph,
            model,
            options,
            lr=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
        )
        self._penalty = self._penalize(model, settings) if settings.penalizes else None

    def _penalize(self, model: SparseModel, sgd: SgdConfig) -> Penalty:
        values = self._executor.state.parameters
        received: dict[str, Floats] = {}
        if sgd.proximal_mu:
            source = sgd.received or model
            for name, weight in source.weights.items():
                values_held = weight.values_at(model.weights[name].mask)
                received[ParameterKind.WEIGHT.of(name)] = values_held
            dense = [name for name in values if name not in received]
            received |= {name: source.dense[name].reshape(-1).copy() for name in dense}
        prunable = [ParameterKind.WEIGHT.of(name) for name in model.weights]
        return Penalty(sgd, values, received, low_names(sgd), prunable)

    def step(self, x: Floats, y: Labels) -> float:
        """One SGD step on a batch; returns its mean loss before the step."""
        loss = self._executor.backward(x, y)
        if self._penalty:
            self._executor.lr = self._penalty.add_to(self._executor.state.gradients())
        self._executor.descend()
        return loss

    def growth(self, x: Floats, y: Labels, quotas: Mapping[str, int]) -> Growth:
        """The largest gradients of absent weights, produced in tiles and never held as a whole."""
        return self._executor.growth(x, y, quotas)

    def gradients(self, x: Floats, y: Labels) -> dict[str, Floats]:
        """Of the present weights on one batch; the model is left as it was."""
        arrays = self._executor.state.arrays
        statistics = [row.name for row in self._graph.statistics]
        before = {name: arrays[name].copy() for name in statistics}
        self._executor.backward(x, y)
        for name, value in before.items():
            arrays[name][:] = value
        found = self._executor.gradients()
        weights = {name: found[ParameterKind.WEIGHT.of(name)] for name in sparse_names(self._graph)}
        return {name: values.astype(np.float32) for name, values in weights.items()}

    def evaluate(self, samples: Samples) -> Evaluation:
        """Loss and confusion with running statistics."""
        confusion = np.zeros((self._graph.classes,) * 2, np.int64)
        losses = [
            self._losses(*samples.batch(rows), confusion)
            for rows in samples.rows(self._micro_batch)
        ]
        return Evaluation(float(np.concatenate([np.zeros(0), *losses]).sum()), confusion)

    def _losses(
        self, x: Floats, y: Labels, confusion: npt.NDArray[np.int64]
    ) -> npt.NDArray[np.float64]:
        """Cross-entropy of each sample, nats; predictions are added to ``confusion``."""
        logits = self._executor.logits(x).astype(np.float64)
        np.add.at(confusion, (y, logits.argmax(axis=1)), 1)
        shifted = logits - logits.max(axis=1, keepdims=True)
        log_sums = np.log(np.exp(shifted).sum(axis=1))
        losses: npt.NDArray[np.float64] = log_sums - shifted[np.arange(len(y)), y]
        return losses

    def batch_norm_moments(self, samples: Samples) -> dict[str, Moments]:
        """Batch statistics of all samples; the model is left as it was."""
        found = self._executor.batch_norm_moments(self._drawn(samples))
        return {
            layer.name: Moments(
                found[ParameterKind.RUNNING_MEAN.of(layer.name)],
                found[ParameterKind.RUNNING_VAR.of(layer.name)],
                len(samples),
            )
            for layer in self._graph.batch_norms
        }

    def ranges(self, samples: Samples) -> Ranges:
        """Value range of every tensor of the graph with running statistics."""
        return self._executor.ranges(self._drawn(samples))

    def _drawn(self, samples: Samples) -> Iterator[Floats]:
        """The samples' x, a micro-batch at a time; whoever iterates holds the only reference."""
        return (samples.batch(rows)[0] for rows in samples.rows(self._micro_batch))

    def model(self) -> SparseModel:
        """A copy of the model as it stands."""
        return self._executor.model()
