"""Executing a training plan: a sparse model trained on numpy arrays."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator, Mapping
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fedtiny.engine import abi, library
from fedtiny.engine.growth import grow
from fedtiny.engine.layout import Layout
from fedtiny.engine.library import EngineError, Library
from fedtiny.engine.optimizers import Descent
from fedtiny.engine.options import EngineOptions
from fedtiny.engine.plan import Growth, Plan, Which
from fedtiny.engine.program import Program
from fedtiny.engine.state import State, address, aligned_bytes
from fedtiny.memory.arena import Buffer
from fedtiny.memory.ledger import LedgerLine
from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats, Indices

Labels = npt.NDArray[np.int64]
Images = npt.NDArray[np.floating]

BATCH_NORM_MOMENTUM = 0.1
"""Weight of a batch in the running statistics."""


class Executor:
    """Trains the weights a device holds, over one static arena.

    A batch larger than ``micro_batch`` is split; gradients are accumulated, and batch norm uses the
    statistics of each micro-batch ("ghost" batch norm). Results do not depend on ``threads``; they
    differ in the last bits between instruction sets.

    Args:
        graph: the model's architecture; must end in a linear layer, or in a convolution without
            batch norm and activation. Of logits that are a map only values and ranges are computed:
            there is no loss for it here.
        model: parameters and masks to start from; copied.
        options: micro-batch, threads, what is saved and what is recomputed.
        lr, momentum, weight_decay: of the optimizer as in PyTorch, on every parameter trained.
        rates: factors of ``lr`` by layer name; those not named have 1.
        instruction_set: default: the widest this machine has.
        lib: default: the product library (float32).

    Attributes:
        plan: programs and memory.
        descent: the optimizer's settings.
        instruction_set: which kernels run.

    Raises:
        EngineError: the engine was not compiled, or the model does not fit the graph.
    """

    def __init__(
        self,
        graph: Graph,
        model: SparseModel,
        options: EngineOptions,
        *,
        lr: float = 0.1,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
        instruction_set: str | None = None,
        lib: Library | None = None,
    ) -> None:
        self._lib = lib or library.load()
        self._set = self._lib.set_index(instruction_set)
        self.instruction_set = instruction_set or self._lib.instruction_sets[0]
        self.descent = Descent(lr, momentum, weight_decay, rates or {})
        self.layout = Layout(graph, model.masks, options, self._lib.real_bytes)
        self.state = State(self.layout, model)
        self._adopt(Plan(self.layout))
        self._pool = self._lib.pool(options.threads) if options.threads > 1 else None
        self._loss, self._correct = np.zeros(1), np.zeros(1, np.int64)
        self.seconds: npt.NDArray[np.float64] | None = None

    def __del__(self) -> None:
        pool = getattr(self, "_pool", None)
        if pool is not None:
            self._lib.free_pool(pool)

    @property
    def lr(self) -> float:
        """The optimizer's learning rate."""
        return self.descent.lr

    @lr.setter
    def lr(self, lr: float) -> None:
        self.descent.lr = lr

    @property
    def arena_lines(self) -> dict[LedgerLine, int]:
        """Bytes by ledger line."""
        return dict(self.plan.lines)

    @property
    def arena_bytes(self) -> int:
        """Bytes it holds: the predicted peak, allocated before the first step."""
        return self.plan.arena_bytes

    def model(self) -> SparseModel:
        """A copy of the current parameters and running statistics."""
        return self.state.model()

    def gradients(self) -> dict[str, npt.NDArray[Any]]:
        """Copies of the last step's gradients by parameter name; of pruned weights, held ones."""
        return {name: grad.copy() for name, grad in self.state.gradients().items()}

    def backward(self, x: Images, y: Labels) -> float:
        """Gradients of the mean loss of (x, y), without an optimizer step.

        Args:
            x: float ``(N, C, H, W)``.
            y: int64 ``(N,)``, classes.

        Returns:
            The mean loss.
        """
        self._check(x, y)
        self.state.arrays["grads"][:] = 0
        self._loss[:] = 0
        for part, labels in self.micro_batches(x, y):
            self.execute(
                self._ops[Which.TRAIN], part, labels,
                training=True, grad_scale=1 / len(x), bn_momentum=BATCH_NORM_MOMENTUM,
            )  # fmt: skip
        return float(self._loss[0]) / len(x)

    def step(self, x: Images, y: Labels) -> float:
        """One optimizer step on the mean loss of (x, y), as for :meth:`backward`."""
        loss = self.backward(x, y)
        self.descend()
        return loss

    def descend(self) -> None:
        """The optimizer's part of a step: along the gradients as they stand."""
        self.descent.step(self._lib, self._set, self.state)

    def evaluate(self, x: Images, y: Labels) -> tuple[float, int]:
        """(summed loss, correct predictions) of (x, y) under the running statistics."""
        self._check(x, y)
        self._loss[:], self._correct[:] = 0, 0
        for part, labels in self.micro_batches(x, y):
            self.execute(self._ops[Which.EVALUATE], part, labels)
        return float(self._loss[0]), int(self._correct[0])

    def logits(self, x: Images) -> Floats:
        """float32 ``(N, classes)``, of a map ``(N, C, H, W)``, under the running statistics."""
        self._check_samples(x)
        shape = self.layout.graph.shapes[self.layout.graph.logits]
        labels, values = np.zeros(len(x), np.int64), prod(shape)
        rows = []
        for part, zeros in self.micro_batches(x, labels):
            self.execute(self._ops[Which.EVALUATE], part, zeros)
            out = self.bytes_of(self.plan.logits).view(f"f{self._lib.real_bytes}")
            blocks = out.reshape(-1, values, self.layout.lanes)
            rows.append(blocks.transpose(0, 2, 1).reshape(-1, values)[: len(part)].copy())
        logits: Floats = np.concatenate(rows, dtype=np.float32)
        return logits if shape[1:] == (1, 1) else logits.reshape(len(x), *shape)

    def batch_norm_moments(self, batches: Iterable[Images]) -> dict[str, Floats]:
        """Batch-norm statistics of ``batches``: cumulative averages over their micro-batches.

        Forward passes in training mode only, as PyTorch's ``momentum=None`` after a reset: means of
        the micro-batches' means and of their unbiased variances. The model is left as it was.

        Returns:
            float32 arrays by statistic name (``stem.bn.running_mean`` …).
        """
        names = [row.name for row in self.layout.graph.statistics]
        before = {name: self.state.arrays[name].copy() for name in names}
        seen = 0
        for x in batches:
            seen = self._average_statistics(x, seen)
            del x  # before the next is drawn
        moments = {name: self.state.arrays[name].astype(np.float32) for name in names}
        for name in names:
            self.state.arrays[name][:] = before[name]
        return moments

    def _average_statistics(self, x: Images, seen: int) -> int:
        """Average in the statistics of ``x`` after ``seen`` micro-batches; returns their number."""
        labels = np.zeros(len(x), np.int64)
        self._check_samples(x)
        for part, zeros in self.micro_batches(x, labels):
            seen += 1
            self.execute(
                self._ops[Which.EVALUATE], part, zeros, training=True, bn_momentum=1 / seen
            )
        return seen

    def ranges(self, batches: Iterable[Images]) -> dict[str, tuple[float, float]]:
        """(smallest, largest) value of every tensor over ``batches``, with running statistics."""
        ops = self.lower(self.plan.ranges.program)
        real, extremes = f"f{self._lib.real_bytes}", self.plan.ranges.extremes
        views = {name: self.bytes_of(out).view(real) for name, out in extremes.items()}
        for view in views.values():
            view[:] = (np.inf, -np.inf)
        for x in batches:
            self._forward(ops, x)
            del x  # before the next is drawn
        return {name: (float(view[0]), float(view[1])) for name, view in views.items()}

    def _forward(self, ops: ctypes.Array[abi.Op], x: Images) -> None:
        labels = np.zeros(len(x), np.int64)
        self._check_samples(x)
        for part, zeros in self.micro_batches(x, labels):
            self.execute(ops, part, zeros)

    def growth(
        self, x: Images, y: Labels, quotas: Mapping[str, int]
    ) -> dict[str, tuple[Indices, Floats]]:
        """The absent weights with the largest gradients of the mean loss of (x, y).

        The dense gradient is produced in tiles and never stored. The batch may exceed
        ``micro_batch``: then every tile costs a pass over all micro-batches.

        Args:
            x, y: the batch, as for :meth:`step`; the model is left as it was.
            quotas: how many weights to return, by layer name.

        Returns:
            By layer: int32 flat positions, ascending, and their float32 gradients. Ties go to the
            smaller position.
        """
        self._check(x, y)
        return grow(self, x, y, quotas)

    def micro_batches(self, x: Images, y: Labels) -> Iterator[tuple[Images, Labels]]:
        """The parts of at most ``micro_batch`` samples, in the kernels' dtypes."""
        size, real = self.layout.options.micro_batch, f"f{self._lib.real_bytes}"
        for start in range(0, len(x), size):
            part = np.ascontiguousarray(x[start : start + size], real)
            yield part, np.ascontiguousarray(y[start : start + size], np.int64)

    def _adopt(self, plan: Plan) -> None:
        """Allocate the plan's workspace and lower its programs there."""
        self.plan = plan
        self._workspace = aligned_bytes(0)  # never two at once: the old one is freed first
        self._workspace = aligned_bytes(plan.workspace_bytes)
        self._ops = {which: self.lower(program) for which, program in plan.programs.items()}

    def adopt_growth(self, quotas: Mapping[str, int]) -> Growth:
        """Make the buffers for growing ``quotas`` part of the plan."""
        if self.plan.quotas != dict(quotas):
            self._adopt(Plan(self.layout, quotas))
        assert self.plan.growth is not None
        return self.plan.growth

    @property
    def memory(self) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """All bytes that programs read and write: of the state, and of the workspace."""
        return self.state.memory, self._workspace

    def bytes_of(self, buffer: Buffer) -> npt.NDArray[np.uint8]:
        """The buffer's bytes in the workspace, a view."""
        return self._workspace[buffer.offset : buffer.offset + buffer.nbytes]

    def lower(self, program: Program) -> ctypes.Array[abi.Op]:
        """The program's C ops at the workspace's address."""
        return program.lower(address(self._workspace), self.state.layers)

    def execute(
        self,
        ops: ctypes.Array[abi.Op],
        x: Images,
        y: Labels,
        *,
        training: bool = False,
        grad_scale: float = 1.0,
        bn_momentum: float = 0.0,
    ) -> None:
        """Run a lowered program on one micro-batch; loss and correct predictions are added up."""
        run = abi.Run(
            ctypes.addressof(ops), len(ops), self.layout.lanes, len(x),
            -(-len(x) // self.layout.lanes), address(x), address(y), training, bn_momentum,
            grad_scale, address(self._loss), address(self._correct),
            0 if self.seconds is None else address(self.seconds),
            self.layout.options.threads, self._pool or 0, 0,
        )  # fmt: skip
        self._lib.run(self._set, run)

    def _check(self, x: Images, y: Labels) -> None:
        self._check_samples(x)
        graph = self.layout.graph
        if graph.shapes[graph.logits][1:] != (1, 1):
            raise EngineError(
                f"{graph.name}: the engine has a loss for classifiers only, not for logits of "
                f"shape {graph.shapes[graph.logits]}; train it on what one cell of the map sees"
            )
        if y.shape != (len(x),) or y.min() < 0 or y.max() >= graph.classes:
            raise EngineError(f"y must be {len(x)} classes within [0, {graph.classes})")

    def _check_samples(self, x: Images) -> None:
        graph = self.layout.graph
        if x.ndim != 4 or x.shape[1:] != graph.input_shape or len(x) == 0:
            raise EngineError(
                f"x must be (N, {', '.join(map(str, graph.input_shape))}), not {x.shape}"
            )
