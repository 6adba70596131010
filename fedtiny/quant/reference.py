"""The integer reference: what every C kernel must equal, byte for byte."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from fedtiny.models.ops import INPUT
from fedtiny.quant.integer_model import INPUT_SHIFT, IntegerGraph
from fedtiny.quant.ops.table import RUN
from fedtiny.quant.tensors import INT8_MAX, INT8_MIN, Int8s, Int16s, QuantizationError, clip

CHUNK = 128
"""Samples interpreted together: bounds the memory of unrolled patches."""


def run(model: IntegerGraph, counts: Int16s) -> Int8s:
    """Logits of each sample.

    Args:
        model: the integer model.
        counts: int16 ``(N, C, H, W)``, raw sensor counts.

    Returns:
        int8 ``(N, classes)``.

    Raises:
        QuantizationError: the counts are not int16 or not of the input's shape.
    """
    codes = quantize_input(model, counts)
    chunks = [infer(model, codes[i : i + CHUNK]) for i in range(0, len(codes), CHUNK)]
    return np.concatenate(chunks) if chunks else np.zeros((0, model.output.shape[0]), np.int8)


def quantize_input(model: IntegerGraph, counts: Int16s) -> Int8s:
    """The int8 input ``(N, H, W, C)`` of raw counts int16 ``(N, C, H, W)``."""
    if counts.dtype != np.int16 or counts.shape[1:] != model.input.shape:
        raise QuantizationError(
            f"counts must be int16 (N, {', '.join(map(str, model.input.shape))}), got "
            f"{counts.dtype} {counts.shape}"
        )
    entry = model.input_quantization
    channels_last = counts.transpose(0, 2, 3, 1).astype(np.int64)
    fine = channels_last * entry.multiplier.astype(np.int64) + entry.offset
    codes = (fine + (1 << (INPUT_SHIFT - 1))) >> INPUT_SHIFT
    return clip(codes, (INT8_MIN, INT8_MAX))


def infer(model: IntegerGraph, codes: Int8s) -> Int8s:
    """int8 logits ``(N, classes)`` of quantized inputs int8 ``(N, H, W, C)``."""
    tensors = dict(trace(model, codes))
    return tensors[model.logits].reshape(len(codes), -1)


def trace(model: IntegerGraph, codes: Int8s) -> Iterator[tuple[str, Int8s]]:
    """(name, int8 ``(N, H, W, C)``) of every node's output, in order."""
    tensors = {INPUT: codes}
    for node in model.nodes:
        run_op = RUN.entry(type(node), node.name)
        sources = [model.tensors[name] for name in node.inputs]
        inputs = [tensors[name] for name in node.inputs]
        tensors[node.name] = run_op(node, inputs, sources, model.tensors[node.name])
        yield node.name, tensors[node.name]
