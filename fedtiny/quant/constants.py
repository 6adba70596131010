"""Channels that never change, so that their rescaling does not coarsen their tensor.

Where all inputs of a channel are dead, its running variance goes to 0 and batch norm's gain to
``γ/√ε``, 316 for γ = 1: its weights, which multiply nothing that varies, are large and ask for a
coarse output scale, which all channels of the tensor share. Such weights are dropped, and what
they contribute goes into the bias. Only channels that would widen the scale are touched.
"""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.models.ops import Conv, Layer, Shape
from fedtiny.models.ops.conv import BATCH_NORM_EPSILON
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel
from fedtiny.quant.fold import Doubles, FoldedLayer

Flags = npt.NDArray[np.bool_]
"""One for each output channel, or for each weight."""


def drop_constant_inputs(
    node: Layer, folded: FoldedLayer, constants: Doubles, source: Shape, among: Flags
) -> FoldedLayer:
    """``folded`` without weights that read a constant channel; exact.

    A constant other than 0 stays where there is padding, which cells at the border read instead.

    Args:
        node: the layer.
        folded: its affine map.
        constants: of the input's channels, float64 ``(C,)``; NaN where they vary.
        source: (C, H, W) of the input.
        among: output channels to look at.
    """
    values = constants[_input_channels(node, folded, source)]
    padded = isinstance(node, Conv) and node.is_padded
    known = values == 0 if padded else np.isfinite(values)
    dropped = known & among[folded.rows]
    shares = np.where(dropped, folded.values * np.nan_to_num(values), 0.0)
    bias = folded.bias + np.bincount(folded.rows, shares, len(folded.bias))
    return _without(replace(folded, bias=bias), dropped)


def drop_settled(
    node: Layer, folded: FoldedLayer, model: SparseModel, asked: Doubles, among: Flags
) -> FoldedLayer:
    """``folded`` without the weights of channels that hardly varied while training.

    Batch norm's statistics say how much a channel's sums vary: its output has a standard deviation
    of ``|γ|·σ/√(σ² + ε)``. Where that is at most half a step of the scale that it asks for, it is
    replaced by its mean β.

    Args:
        node: the layer.
        folded: its affine map.
        model: the float parameters.
        asked: float64 ``(O,)``, the least output scale of each channel.
        among: output channels to look at.
    """
    if not (isinstance(node, Conv) and node.batch_norm):
        return folded
    gamma, beta, variance = (
        model.dense[kind.of(node.name)].astype(np.float64)
        for kind in (ParameterKind.BN_SCALE, ParameterKind.BN_SHIFT, ParameterKind.RUNNING_VAR)
    )
    deviation = np.abs(gamma) * np.sqrt(variance / (variance + BATCH_NORM_EPSILON))
    settled = among & (deviation <= asked / 2)
    bias = np.where(settled, beta, folded.bias)
    return _without(replace(folded, bias=bias), settled[folded.rows])


def constant_outputs(node: Layer, folded: FoldedLayer) -> Doubles:
    """Output of the channels without weights, float64 ``(O,)``; NaN of the others."""
    weights = np.bincount(folded.rows, minlength=len(folded.bias))
    outputs: Doubles = np.where(weights == 0, node.activation(folded.bias), np.nan)
    return outputs


def _without(folded: FoldedLayer, dropped: Flags) -> FoldedLayer:
    return replace(folded, indices=folded.indices[~dropped], values=folded.values[~dropped])


def _input_channels(node: Layer, folded: FoldedLayer, source: Shape) -> npt.NDArray[np.int32]:
    """Channel of the input that each weight reads."""
    if not isinstance(node, Conv):
        return folded.indices % folded.shape[1] // prod(source[1:])
    inner = node.in_channels // node.groups
    group = folded.rows // (node.out_channels // node.groups)
    return group * inner + folded.indices // prod(node.kernel) % inner
