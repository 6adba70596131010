"""Batch-norm folding: the convolution that computes what convolution and batch norm did."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import numpy.typing as npt

from fedtiny.models.ops import Conv, Layer
from fedtiny.models.ops.conv import BATCH_NORM_EPSILON
from fedtiny.models.parameters import BATCH_NORM, ParameterKind
from fedtiny.models.sparse_model import SparseModel
from fedtiny.quant.tensors import Int32s, QuantizationError
from fedtiny.sparse.tensor import Mask

Doubles = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FoldedLayer:
    """A layer's weights and bias with batch norm folded in.

    Attributes:
        shape: of the weight, in the layer graph's layout (OIHW, or (out, in)).
        indices: int32 ``(nnz,)`` flat positions of the weights present.
        values: float64 ``(nnz,)``.
        bias: float64 ``(O,)``.
    """

    shape: tuple[int, ...]
    indices: Int32s
    values: Doubles
    bias: Doubles

    @property
    def rows(self) -> Int32s:
        """Output channel of each value, int32 ``(nnz,)``."""
        return (self.indices // prod(self.shape[1:])).astype(np.int32)


def fold(layer: Layer, model: SparseModel) -> FoldedLayer:
    """``layer`` of ``model`` as one affine map (Jacob et al. 2018, equation 14).

    ``w' = w·γ/√(σ² + ε)``, ``b' = β − μ·γ/√(σ² + ε)``. Absent weights stay absent.

    Raises:
        QuantizationError: a weight, bias or statistic is not finite, or a variance is negative.
    """
    if layer.name in model.weights:
        weight = model.weights[layer.name]
        indices, values = weight.mask.indices, weight.values.astype(np.float64)
    else:
        array = model.dense[ParameterKind.WEIGHT.of(layer.name)]
        indices = Mask.full(array.shape).indices
        values = array.reshape(-1).astype(np.float64)
    if isinstance(layer, Conv) and layer.batch_norm:
        gain, bias = _affine(layer, model)
        rows = indices // prod(layer.weight_shape[1:])
        values = values * gain[rows]
    else:
        bias = model.dense[ParameterKind.BIAS.of(layer.name)].astype(np.float64)
    if not (np.isfinite(values).all() and np.isfinite(bias).all()):
        raise QuantizationError(
            f"layer {layer.name!r} has weights, biases or batch-norm statistics that are not "
            "finite; the training diverged"
        )
    return FoldedLayer(layer.weight_shape, indices, values, bias)


def _affine(layer: Conv, model: SparseModel) -> tuple[Doubles, Doubles]:
    """Gain and bias, float64 (O,), of a batch norm with running statistics."""
    gamma, beta, mean, variance = (
        model.dense[kind.of(layer.name)].astype(np.float64) for kind in BATCH_NORM
    )
    if not np.all(variance >= 0):
        raise QuantizationError(f"layer {layer.name!r} has a negative running variance or NaN")
    gain = gamma / np.sqrt(variance + BATCH_NORM_EPSILON)
    return gain, beta - mean * gain
