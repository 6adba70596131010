"""Growth: the largest gradients of absent weights, streamed through bounded tiles."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fedtiny.engine.library import EngineError
from fedtiny.engine.plan import Growth
from fedtiny.engine.program import Step
from fedtiny.sparse.tensor import Floats, Indices

if TYPE_CHECKING:
    from fedtiny.engine.executor import Executor

Passes = Iterator[dict[str, tuple[int, int]]]
"""Output channels [first, last) of each layer that one pass over the batch covers."""


def grow(
    executor: Executor, x: npt.NDArray[np.floating], y: npt.NDArray[np.int64],
    quotas: Mapping[str, int],
) -> dict[str, tuple[Indices, Floats]]:  # fmt: skip
    """The absent weights with the largest gradients of the mean loss of (x, y).

    Returns:
        By layer: int32 flat positions, ascending, and their float32 gradients.
    """
    layout = executor.layout
    for name in quotas:
        if name not in layout.masks:
            raise EngineError(f"no layer {name!r} to grow; layers: {', '.join(layout.masks)}")
    wanted = {name: min(quota, _absent(executor, name)) for name, quota in quotas.items()}
    wanted = {name: quota for name, quota in wanted.items() if quota > 0}
    empty = (np.zeros(0, np.int32), np.zeros(0, np.float32))
    results = dict.fromkeys(quotas, empty)
    if wanted:
        growth = executor.adopt_growth(wanted)
        _run(executor, growth, x, y)
        results |= {name: _result(executor, step) for name, step in growth.steps.items()}
    return results


def _absent(executor: Executor, name: str) -> int:
    mask = executor.layout.masks[name]
    return mask.size - mask.nnz


def _run(
    executor: Executor, growth: Growth, x: npt.NDArray[np.floating], y: npt.NDArray[np.int64]
) -> None:
    ops = executor.lower(growth.program)
    by_layer = {name: ops[growth.program.steps.index(step)] for name, step in growth.steps.items()}
    for op in by_layer.values():
        ctypes.c_int64.from_address(op.top_count).value = 0
    parts = -(-len(x) // executor.layout.options.micro_batch)
    for covered in _passes(executor, growth, parts):
        for index, (part, labels) in enumerate(executor.micro_batches(x, y)):
            for name, op in by_layer.items():
                op.first_channel, op.last_channel = covered.get(name, (0, 0))
                op.accumulate, op.finish = index > 0, index == parts - 1
            # momentum 0 leaves the running statistics as they are
            executor.execute(ops, part, labels, training=True, grad_scale=1 / len(x))


def _passes(executor: Executor, growth: Growth, parts: int) -> Passes:
    """One pass covers everything; with several micro-batches, only one tile per layer."""
    geometries = executor.layout.geometries
    if parts == 1:
        yield {name: (0, geometries[name].out_channels) for name in growth.steps}
        return
    firsts = dict.fromkeys(growth.steps, 0)
    while any(first < geometries[name].out_channels for name, first in firsts.items()):
        covered = {}
        for name, first in firsts.items():
            step = max(1, growth.capacity[name] // geometries[name].row_weights)
            covered[name] = (first, min(first + step, geometries[name].out_channels))
            firsts[name] = covered[name][1]
        yield covered


def _result(executor: Executor, step: Step) -> tuple[Indices, Floats]:
    count = int(executor.bytes_of(step.extra["top_count"]).view(np.int64)[0])
    real = f"f{executor.layout.real_bytes}"
    indices = executor.bytes_of(step.extra["top_index"]).view(np.int32)[:count]
    values = executor.bytes_of(step.extra["top_value"]).view(real)[:count]
    order = np.argsort(indices)
    return indices[order].copy(), values[order].astype(np.float32)
