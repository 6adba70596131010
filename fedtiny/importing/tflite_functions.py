"""TensorFlow Lite's functions of one int8 value, as tables of 256 codes."""

from __future__ import annotations

import numpy as np

from fedtiny.importing.tflite_assembly import RELU, RELU6, Assembly, clamped
from fedtiny.quant.ops.lookup import IntegerLookup
from fedtiny.quant.requantize import normalized, requantize
from fedtiny.quant.tensors import INT8_MAX, INT8_MIN, Int8s, Int8Tensor, Int64s, clip

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


def hard_swish(assembly: Assembly) -> None:
    """HARD_SWISH as TensorFlow Lite's 16-bit fixed point computes it."""
    value = assembly.variable(0)
    source = assembly.source(value)
    output = assembly.quantized(assembly.output(), source.shape)
    table = _hard_swish(source, output, assembly)
    assembly.add(IntegerLookup(assembly.new_name(), value.name, table), output, value.shape)


def _hard_swish(source: Int8Tensor, output: Int8Tensor, assembly: Assembly) -> Int8s:
    """``x · relu6(x + 3) / 6``: the second factor in units of 2^-15, the first in the output's."""
    with np.errstate(over="ignore"):
        fine = np.float32(1 / 128) * np.float32(source.scale)
        factors = np.array(
            [fine / np.float32(output.scale), fine / np.float32(3 / 32768)], np.float64
        )
    wide, exponents = normalized(factors)
    scale_exponent, gate_exponent = exponents.tolist()
    if scale_exponent > 0 or abs(gate_exponent) > _MOST_SHIFT:
        raise assembly.refuse(
            f"scales {source.scale:g} and {output.scale:g} too far apart", "convert again"
        )
    scale, gate_scale = np.minimum((wide.astype(np.int64) + (1 << 15)) >> 16, _INT16_MAX).tolist()
    x = (CODES.astype(np.int64) - source.zero_point) << 7
    gate = _saturated(x << max(gate_exponent - 1, 0))
    gate = _saturated(_rounded_high(gate, gate_scale) << int(gate_exponent > 0))
    gate = (_halved(gate, max(-gate_exponent, 0)) + (1 << 15)) >> 1
    product = gate * _rounded_high(x, scale)
    cut = np.sign(product) * (np.abs(product) >> 15)
    return clip(_halved(cut, -scale_exponent) + output.zero_point, (INT8_MIN, INT8_MAX))


_INT16_MAX = 2**15 - 1
_MOST_SHIFT = 31


def _saturated(values: Int64s) -> Int64s:
    limited: Int64s = np.clip(values, -_INT16_MAX - 1, _INT16_MAX)
    return limited


def _rounded_high(values: Int64s, multiplier: int) -> Int64s:
    """The upper half of the doubled 16-bit product, rounded."""
    return _saturated((values * multiplier + (1 << 14)) >> 15)


def _halved(values: Int64s, times: int) -> Int64s:
    """Divided by 2^times, halves away from zero."""
    half = (1 << times) >> 1
    divided: Int64s = np.sign(values) * ((np.abs(values) + half) >> times)
    return divided
