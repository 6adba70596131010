"""The masked-dense training path on PyTorch: the oracle, pre-training, and the way to a GPU.

It holds dense tensors with zeros in them, and the ledger says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from fedtiny.data.samples import Samples
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel, from_state
from fedtiny.models.torch_module import GraphModule
from fedtiny.pruning.bn_selection import Moments
from fedtiny.sparse.streaming_top_k import streaming_top_k
from fedtiny.sparse.tensor import Floats, Indices, Mask
from fedtiny.training.penalty import Penalty, low_names
from fedtiny.training.trainer import Evaluation, Growth, Labels, Ranges, SgdConfig


class TorchTrainer:
    """A :class:`~fedtiny.training.trainer.Trainer` on masked dense tensors.

    Args:
        graph: the model's description.
        model: parameters, statistics and masks to start from.
        sgd: optimizer settings; ``None`` if the trainer will only evaluate.
        micro_batch: samples per forward and backward pass.
        device: that holds parameters and batches, ``"cpu"`` or ``"cuda"``.
    """

    def __init__(
        self,
        graph: Graph,
        model: SparseModel,
        sgd: SgdConfig | None = None,
        micro_batch: int = 256,
        device: str = "cpu",
    ) -> None:
        one_thread()
        if device == "cuda":
            torch.backends.cudnn.deterministic = True
        self._device = device
        self._graph = graph
        self._trained = [row.name for row in graph.parameters if row.trainable]
        self._masks = model.masks
        self._micro_batch = micro_batch
        self._module = GraphModule(graph).to(device)
        self._module.load(model.to_dense())
        self._absent = {
            ParameterKind.WEIGHT.of(name): self._tensor(~mask.to_bool())
            for name, mask in self._masks.items()
            if mask.nnz < mask.size
        }
        self._optimizer = _optimizer(self._module, sgd) if sgd else None
        self._penalty = self._penalize(model, sgd) if sgd and sgd.penalizes else None

    def _penalize(self, model: SparseModel, sgd: SgdConfig) -> Penalty:
        values = {name: self._module.tensor(name).detach() for name in self._trained}
        received: dict[str, Tensor] = {}
        if sgd.proximal_mu:
            held = (sgd.received or model).under(self._masks).to_dense()
            received = {name: self._tensor(held[name]).clone() for name in values}
        masks = {ParameterKind.WEIGHT.of(name): mask for name, mask in self._masks.items()}
        low = {name: masks[name].indices[found] for name, found in low_names(sgd).items()}
        return Penalty(sgd, values, received, low, list(masks))

    def _tensor(self, array: np.ndarray) -> Tensor:
        """On the trainer's device."""
        return torch.from_numpy(array).to(self._device)

    def step(self, x: Floats, y: Labels) -> float:
        """One SGD step on a batch; returns its mean loss before the step."""
        if self._optimizer is None:
            raise RuntimeError("this trainer was made without SGD settings")
        self._optimizer.zero_grad(set_to_none=True)
        loss = self._backward(x, y)
        # Gradients outside the mask never reach the momentum, so absent weights stay exactly 0.
        for name, absent in self._absent.items():
            gradient = self._module.tensor(name).grad
            assert gradient is not None
            gradient.masked_fill_(absent, 0.0)
        if self._penalty:
            self._optimizer.param_groups[0]["lr"] = self._penalty.add_to(self._gradients())
        self._optimizer.step()
        return loss

    def _gradients(self) -> dict[str, Tensor]:
        """Live, by parameter name."""
        found = {}
        for name in self._trained:
            gradient = self._module.tensor(name).grad
            assert gradient is not None
            found[name] = gradient
        return found

    def _backward(self, x: Floats, y: Labels) -> float:
        self._module.train()
        total = 0.0
        for part in _slices(len(x), self._micro_batch):
            logits = self._module(self._tensor(x[part]))
            target = self._tensor(y[part])
            loss = functional.cross_entropy(logits, target, reduction="sum") / len(x)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    def growth(self, x: Floats, y: Labels, quotas: Mapping[str, int]) -> Growth:
        """The largest gradients of absent weights.

        PyTorch builds each layer's dense gradient; the ledger counts it. Batch-norm running
        statistics are left as they were.
        """
        dense = self._dense_gradients(x, y)
        found: dict[str, tuple[Indices, Floats]] = {}
        for layer, quota in quotas.items():
            found[layer] = streaming_top_k(_absent_tiles(dense[layer], self._masks[layer]), quota)
        return found

    def gradients(self, x: Floats, y: Labels) -> dict[str, Floats]:
        """Of the present weights on one batch; the model is left as it was."""
        dense = self._dense_gradients(x, y)
        return {name: dense[name].reshape(-1)[mask.indices] for name, mask in self._masks.items()}

    def _dense_gradients(self, x: Floats, y: Labels) -> dict[str, Floats]:
        """Of the prunable layers' weights, absent ones included; statistics stay as they were."""
        statistics = [row.name for row in self._graph.statistics]
        before = {name: self._module.tensor(name).clone() for name in statistics}
        self._module.zero_grad(set_to_none=True)
        self._backward(x, y)
        for name, value in before.items():
            self._module.tensor(name).copy_(value)
        gradients = self._gradients()
        return {
            name: gradients[ParameterKind.WEIGHT.of(name)].cpu().numpy() for name in self._masks
        }

    def evaluate(self, samples: Samples) -> Evaluation:
        """Loss and confusion with running statistics."""
        confusion = np.zeros((self._graph.classes,) * 2, np.int64)
        loss_sum = 0.0
        self._module.eval()
        with torch.no_grad():
            for rows in samples.rows(self._micro_batch):
                loss_sum += self._evaluate(*samples.batch(rows), confusion)
        return Evaluation(loss_sum, confusion)

    def _evaluate(self, x: Floats, y: Labels, confusion: npt.NDArray[np.int64]) -> float:
        """The summed loss of a micro-batch; its predictions are added to ``confusion``."""
        logits = self._module(self._tensor(x))
        np.add.at(confusion, (y, logits.argmax(1).cpu().numpy()), 1)
        loss = functional.cross_entropy(logits, self._tensor(y), reduction="sum")
        return float(loss.item())

    def batch_norm_moments(self, samples: Samples) -> dict[str, Moments]:
        """Batch statistics of all samples; they become the model's running statistics."""
        self._module.reset_statistics()
        self._module.momentum = None
        self._module.train()
        with torch.no_grad():
            for rows in samples.rows(self._micro_batch):
                self._module(self._tensor(samples.batch(rows)[0]))
        state = self._module.state()
        return {
            layer.name: Moments(
                state[ParameterKind.RUNNING_MEAN.of(layer.name)],
                state[ParameterKind.RUNNING_VAR.of(layer.name)],
                len(samples),
            )
            for layer in self._graph.batch_norms
        }

    def ranges(self, samples: Samples) -> Ranges:
        """Value range of every tensor of the graph with running statistics."""
        found: dict[str, tuple[float, float]] = {}

        def observe(name: str, value: Tensor) -> None:
            low, high = value.min().item(), value.max().item()
            seen = found.get(name, (low, high))
            found[name] = (min(low, seen[0]), max(high, seen[1]))

        self._module.eval()
        with torch.no_grad():
            for rows in samples.rows(self._micro_batch):
                batch = self._tensor(samples.batch(rows)[0])
                observe(INPUT, batch)
                self._module(batch, observe)
        return found

    def model(self) -> SparseModel:
        """The model as it stands, in its masks' order."""
        return from_state(self._graph, self._module.state(), self._masks)


def one_thread() -> None:
    """Make this process compute with one PyTorch thread.

    The same training differs in its last bits between thread counts, and Flower's driver and its
    Ray actors start with different ones; every trainer therefore fixes it. Asking PyTorch first
    would not do: it tells OpenMP's count, and MKL, which multiplies, may still have another.
    """
    torch.set_num_threads(1)


def _optimizer(module: GraphModule, sgd: SgdConfig) -> torch.optim.SGD:
    return torch.optim.SGD(
        module.parameters(),
        lr=sgd.learning_rate,
        momentum=sgd.momentum,
        weight_decay=sgd.weight_decay,
    )


def _slices(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def _absent_tiles(gradient: Floats, mask: Mask) -> Iterator[tuple[Indices, Floats]]:
    """The gradient of absent weights, one output channel at a time."""
    absent = ~mask.to_bool()
    row_size = mask.size // mask.shape[0]
    for channel in range(mask.shape[0]):
        positions = np.flatnonzero(absent[channel]).astype(np.int32)
        yield positions + channel * row_size, gradient[channel].reshape(-1)[positions]
