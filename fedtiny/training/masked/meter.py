"""Measured memory of PyTorch code: the allocator's peak, kernels' own temporaries included."""

from __future__ import annotations

from collections.abc import Callable

from torch.profiler import ProfilerActivity, profile

from fedtiny.models.graph import Graph
from fedtiny.models.sparse_model import SparseModel
from fedtiny.sparse.tensor import Floats
from fedtiny.training.masked.trainer import TorchTrainer
from fedtiny.training.trainer import Labels, SgdConfig

_ALLOCATION = "[memory]"
"""Name of the profiler's allocation and free events."""


def measure_peak_bytes(block: Callable[[], object], resident_bytes: int = 0) -> int:
    """Most bytes PyTorch's CPU allocator held at once while ``block`` ran.

    Counted from the block's start, so allocate inside it what should be seen, and give the rest
    as ``resident_bytes`` (numpy arrays, tensors that exist already). Running it costs 1.1 to 2
    times the block.

    >>> import torch
    >>> measure_peak_bytes(lambda: torch.zeros(1000), resident_bytes=8)
    4008
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        block()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == _ALLOCATION]
    live = peak = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        live += event.nbytes()
        peak = max(peak, live)
    return peak + resident_bytes


def measure_training_step(
    graph: Graph, model: SparseModel, sgd: SgdConfig, x: Floats, y: Labels, micro_batch: int
) -> int:
    """Peak bytes of one ordinary training step, weights, masks, momentum and batch included.

    Works on a trainer of its own, thrown away afterwards. Two steps are taken, because momentum
    appears only at the end of the first.

    Args:
        graph, model, sgd, micro_batch: as for ``TorchTrainer``.
        x: one batch, float32 (N, C, H, W).
        y: int64 (N,).
    """

    def two_steps() -> None:
        trainer = TorchTrainer(graph, model, sgd, micro_batch)
        trainer.step(x, y)
        trainer.step(x, y)

    # numpy's memory, which the allocator does not see: the batch, the masks and their indices.
    masks = sum(
        mask.indices.nbytes + (mask.size if mask.nnz < mask.size else 0)
        for mask in model.masks.values()
    )
    return measure_peak_bytes(two_steps, x.nbytes + y.nbytes + masks)
