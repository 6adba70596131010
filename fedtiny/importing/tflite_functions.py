"""TensorFlow Lite's functions of one int8 value, as tables of 256 codes."""

from __future__ import annotations

import numpy as np

from fedtiny.importing.tflite_assembly import RELU, RELU6, Assembly, clamped
from fedtiny.quant.ops.lookup import IntegerLookup
from fedtiny.quant.requantize import normalized, requantize
from fedtiny.quant.tensors import INT8_MAX, INT8_MIN, Int8s, Int8Tensor, clip

CODES = np.arange(INT8_MIN, INT8_MAX + 1)


def rescaled(source: Int8Tensor, output: Int8Tensor, bounds: tuple[int, int]) -> Int8s:
    """Each code in another scale: QUANTIZE of int8, and the rectifiers by ``bounds``.

    >>> half, whole = Int8Tensor((1, 1, 1), 0.5, 0), Int8Tensor((1, 1, 1), 1.0, 3)
    >>> rescaled(half, whole, (-128, 127))[[128, 129, 130, 132]].tolist()
    [3, 4, 4, 5]
    """
    multiplier, shift = normalized(np.float64(source.scale) / np.float64(output.scale))
    codes = requantize(CODES.astype(np.int64) - source.zero_point, multiplier, shift)
    return clip(codes + output.zero_point, bounds)


def rectify(assembly: Assembly) -> None:
    """RELU and RELU6 that no layer was fused with."""
    value = assembly.variable(0)
    source = assembly.source(value)
    output = assembly.quantized(assembly.output(), source.shape)
    function = RELU
    if assembly.operator.kind == "RELU6":
        assembly.require_same_scale(source, output)
        function = RELU6
    table = rescaled(source, output, clamped(function, output, assembly))
    assembly.add(IntegerLookup(assembly.new_name(), value.name, table), output, value.shape)


def squash(assembly: Assembly) -> None:
    """LOGISTIC and TANH: the function itself, rounded, which is what the fixed-point one gives."""
    value = assembly.variable(0)
    source = assembly.source(value)
    output = assembly.quantized(assembly.output(), source.shape)
    half = assembly.operator.kind == "LOGISTIC"
    if (output.scale, output.zero_point) != ((1 / 256, -128) if half else (1 / 128, 0)):
        raise assembly.refuse(
            f"a result of scale {output.scale:g} and zero point {output.zero_point}",
            "the specification has 1/256 and -128 for LOGISTIC, 1/128 and 0 for TANH",
        )
    real = source.scale * (CODES.astype(np.float64) - source.zero_point)
    with np.errstate(over="ignore"):
        table = output.encode(1 / (1 + np.exp(-real)) if half else np.tanh(real))
    assembly.add(IntegerLookup(assembly.new_name(), value.name, table), output, value.shape)
