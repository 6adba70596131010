"""What convolutions and linear layers share: weight streams, their cost, constants and calls."""

from __future__ import annotations

from functools import lru_cache
from math import prod
from typing import Any

import numpy as np

from fedtiny.firmware.cores import Core
from fedtiny.firmware.ops.op import common_call
from fedtiny.firmware.plan import ExportPlan, Kernel, Step
from fedtiny.firmware.stream_formats import WeightFormat
from fedtiny.firmware.streams import (
    MAX_WEIGHTS,
    WeightStreams,
    formats_for,
    planar_is_exact,
    weight_streams,
)
from fedtiny.firmware.text import Array, identifier
from fedtiny.quant.integer_model import IntegerLayer


@lru_cache(maxsize=64)  # a planner asks again for every limit it tries
def encodings(node: IntegerLayer) -> tuple[tuple[WeightStreams, ...], bool]:
    """The weights in each format that holds them; whether the planar kernel is exact for them."""
    rows = node.weight.to_dense().reshape(node.weight.shape[0], -1)
    if rows.shape[1] > MAX_WEIGHTS:
        return (), False
    return tuple(weight_streams(rows, f) for f in formats_for(rows)), planar_is_exact(
        rows, node.bias
    )


def dense_flash_bytes(node: IntegerLayer) -> int:
    """Flash of every weight, biases and multipliers."""
    return prod(node.weight.shape) + parameter_bytes(node)


def parameter_bytes(node: IntegerLayer) -> int:
    """Flash of biases, multipliers and shifts of its own."""
    shifts = 0 if node.shift is None else node.shift.nbytes
    return node.bias.nbytes + node.multiplier.nbytes + shifts


def decoded(step: Step, node: IntegerLayer, bands: int) -> tuple[float, ...]:
    """Decoded: (D8 entries, N4 entries, bitmap values, positions, dense values, positions).

    Entries of the formats with 4 bits count as those of D8 and N4, whose loops theirs are.
    """
    streams = step.streams
    if streams is None:
        return (0, 0, 0, 0, 0, 0)
    positions = bands * prod(node.weight.shape)
    entries = bands * int(streams.entries.sum())
    match streams.format:
        case WeightFormat.D8 | WeightFormat.D4:
            return (entries, 0, 0, 0, 0, 0)
        case WeightFormat.N4 | WeightFormat.P4:
            return (0, entries, 0, 0, 0, 0)
        case WeightFormat.BITMAP:
            return (0, 0, entries, positions, 0, 0)
        case WeightFormat.DENSE:
            return (0, 0, 0, 0, entries, positions)


def lanes(weights: int, core: Core) -> int:
    """Multiply-accumulates of one output: vectors of 16 are filled up."""
    return -(-weights // 16) * 16 if core.has_mve else weights


def layer_call(
    node: IntegerLayer, step: Step, plan: ExportPlan, filter_dims: tuple[int, int, int, int]
) -> dict[str, Any]:
    """The variables that convolutions and linear layers share."""
    source = plan.model.tensors[node.input]
    out = node.weight.shape[0]
    call = {
        "input_offset": -source.zero_point,
        "channel_multiplier": out // source.shape[0],
        "filter_dims": filter_dims,
        "bias_dims": (1, 1, 1, out),
        "input": plan.arena.offsets[node.input],
        "clamp": node.clamp,
        "prefix": f"model_{identifier(node.name)}",
        "has_shifts": node.shift is not None,
    }
    if step.streams is not None:
        use = "dot" if step.kernel is Kernel.SPARSE_LINEAR else "decode"
        call["decoder"] = f"fedtiny_{use}_{step.streams.format.name.lower()}"
        call["max_nonzeros"] = step.streams.max_nonzeros
        call["stream_bytes"] = len(step.streams.stream)
    return call | common_call(step, plan)


def layer_arrays(node: IntegerLayer, step: Step) -> list[Array]:
    """Weights, bias and rescaling, as the step's kernel reads them."""
    name, prefix = node.name, f"model_{identifier(node.name)}"
    arrays = [
        Array(f"{prefix}_bias", f"{name}: bias", node.bias),
        Array(f"{prefix}_multiplier", f"{name}: rescaling, times 2^31", node.multiplier),
    ]
    if node.shift is not None:
        arrays.append(Array(f"{prefix}_shift", f"{name}: exponents of it", node.shift))
    if step.streams is None:
        dense = node.weight.to_dense()
        if step.kernel is Kernel.DENSE_DEPTHWISE:
            dense = dense.transpose(3, 1, 2, 0)
        return [Array(f"{prefix}_weights", f"{name}: weights {dense.shape}", dense), *arrays]
    # C has no arrays of length 0: an empty stream is one byte that is never read.
    stream = np.frombuffer(step.streams.stream or b"\0", np.uint8)
    comment = f"{name}: {node.weight.nnz} weights, {step.streams.format.name}"
    return [
        Array(f"{prefix}_stream", comment, stream),
        Array(f"{prefix}_entries", f"{name}: entries of each channel", step.streams.entries),
        *arrays,
    ]
