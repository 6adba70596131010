"""Post-training quantization: a trained sparse model and its activation ranges to integers.

Scheme (Jacob et al. 2018; the TensorFlow Lite 8-bit specification): weights symmetric with one
scale per output channel, so that pruned weights stay exactly zero; activations asymmetric with
one scale per tensor; batch norm folded in; ReLU and ReLU6 are the output's clamp, hard-swish is a
table (:mod:`fedtiny.quant.functions`).

Two rules of ours keep every rescaling factor a plain fraction of 2^31 (see
:mod:`fedtiny.quant.requantize`) and every accumulator small:

* a channel's weight scale is at least ``|bias| / (s_in · 2^22)``: biases stay within 22 bits.
  Only channels with next to no weights and a large bias feel it, and their output is the bias;
* an output's scale is more than twice its largest ``s_in · s_weight``. Where the calibrated range
  asks for less, the scale is widened. That costs the channel with the largest weights nothing: its
  sums have no finer steps. But the scale is the tensor's: every other channel has fewer codes left,
  by the factor of the widening, and where that is 255 or more a single one. A channel whose inputs
  are dead would do that for no use, so its weights are dropped first
  (:mod:`fedtiny.quant.constants`).
"""

from __future__ import annotations

import numpy as np

from fedtiny.data.statistics import Normalization
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Pool
from fedtiny.models.sparse_model import SparseModel
from fedtiny.quant.building import Building
from fedtiny.quant.integer_model import (
    INPUT_SHIFT,
    InputQuantization,
    IntegerGraph,
    IntegerNode,
)
from fedtiny.quant.ops.table import QUANTIZE
from fedtiny.quant.ranges import Ranges, check_ranges
from fedtiny.quant.tensors import Int8Tensor, QuantizationError

WEIGHT_BITS = (4, 8)
"""That weights may have."""

_WIDEST = 4.0
"""Times the scale that the calibrated range asks for. Two values in one channel need 2."""

_CODES_PER_COUNT = 127.0
"""At most: the multiplier of :class:`InputQuantization` has 31 bits, 24 of them a fraction."""


def quantize(
    graph: Graph,
    model: SparseModel,
    normalization: Normalization,
    ranges: Ranges,
    weight_bits: int = 8,
) -> IntegerGraph:
    """The int8 model of ``model``.

    Args:
        graph: the architecture; its first output becomes the model's.
        model: its float parameters.
        normalization: in sensor counts; the float model sees ``(counts − mean) / std``.
        ranges: (minimum, maximum) of every tensor of :attr:`Graph.observed`. Pools and
            upsampled maps take their input's.
        weight_bits: 8, or 4 for the weights of the layers that hold a part of them: codes in
            [-7, 7]. Layers that hold all of theirs, as a rule the first and the last, keep 8.

    Raises:
        QuantizationError: a range is missing or unusable, the normalisation does not fit the
            input, the graph has several outputs, or parameters are not finite.

    >>> from fedtiny.bench.synthetic import float_model, normalization
    >>> from fedtiny.models import smartwatch_cnn
    >>> graph = smartwatch_cnn((6, 1, 128), 7)
    >>> ranges = dict.fromkeys(graph.observed, (-4.0, 4.0))  # of a calibration
    >>> integer = quantize(graph, float_model(graph, 0.05), normalization(6), ranges)
    >>> integer.nodes[0].name, integer.output.shape
    ('conv1', (7, 1, 1))
    """
    if len(graph.outputs) > 1:
        raise QuantizationError(
            f"{graph.name} has the outputs {', '.join(graph.outputs)}; only one can be exported"
        )
    pools = {node.name for node in graph.nodes if isinstance(node, Pool)}
    missing = {*graph.observed} - pools - ranges.keys()
    if missing:
        raise QuantizationError(
            f"no calibration range for {', '.join(sorted(missing))}; calibrate with this graph"
        )
    check_ranges(ranges, "calibration")
    if weight_bits not in WEIGHT_BITS:
        raise QuantizationError(f"weights have 4 or 8 bits, not {weight_bits}")
    build = Building(graph, model, ranges, weight_bits=weight_bits)
    entry = input_quantization(
        build.output(INPUT, INPUT, _least_scale(normalization, ranges[INPUT])), normalization
    )
    nodes: list[IntegerNode] = []
    for node in graph.nodes:
        nodes += QUANTIZE.entry(type(node), node.name)(node, build)
    return IntegerGraph(graph.name, entry, build.tensors, tuple(nodes), graph.logits)


def _least_scale(normalization: Normalization, calibrated: tuple[float, float]) -> float:
    """Of the input, so that no count spans more codes than its multiplier can say.

    A channel of two values, 0 and 1, say, spans one count: over its own range all 255 codes would
    lie between them. Nothing needs them, and half as many still tell the values apart. A channel so
    steep that it would cost the others more than that is left to be refused.
    """
    low, high = calibrated
    stds = normalization.std.astype(np.float64)
    steepest = float(np.max(1 / stds[stds > 0], initial=0.0))
    return min(steepest / _CODES_PER_COUNT, _WIDEST * (high - low) / 255)


def input_quantization(tensor: Int8Tensor, normalization: Normalization) -> InputQuantization:
    """Normalisation and input quantization as one integer affine map per channel.

    Raises:
        QuantizationError: not one mean and one positive std per channel, or a channel so nearly
            constant that one count spans more than 128 codes.
    """
    means, stds = normalization.mean.astype(np.float64), normalization.std.astype(np.float64)
    channels = (tensor.shape[0],)
    if means.shape != channels or stds.shape != channels:
        raise QuantizationError(
            f"the normalisation must have shape {channels}, got mean {means.shape} and "
            f"std {stds.shape}"
        )
    if not (np.isfinite(means).all() and np.isfinite(stds).all() and (stds > 0).all()):
        raise QuantizationError(
            f"the normalisation needs finite means and positive stds, got mean {means.tolist()}, "
            f"std {stds.tolist()}"
        )
    codes_per_count = 1.0 / (stds * tensor.scale)
    multiplier = np.rint(codes_per_count * 2**INPUT_SHIFT)
    offset = np.rint((tensor.zero_point - means * codes_per_count) * 2**INPUT_SHIFT)
    if multiplier.max() >= 2**31 or multiplier.min() < 1 or np.abs(offset).max() >= 2**62:
        raise QuantizationError(
            f"sensor counts cannot be quantized: one count is {codes_per_count.tolist()} codes "
            "per channel; rescale the counts to use the int16 range"
        )
    return InputQuantization(multiplier.astype(np.int32), offset.astype(np.int64))
