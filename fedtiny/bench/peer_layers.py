"""Layers of two public libraries that train sparse weights on CPUs, with a workload's weights.

SparseProp (Nikdan et al., ICML 2023) has convolutions and linear layers for AVX2; it times its
variants and PyTorch's dense layer on each layer's own shape, and keeps the fastest. SparseLab has
linear layers, in rows with room to grow.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from fedtiny.bench.contenders import Contender
from fedtiny.bench.no_peer import NoPeerError
from fedtiny.bench.swapped import SwappedModule
from fedtiny.bench.torch_contenders import trained
from fedtiny.bench.workload import Workload
from fedtiny.models.ops import Conv, Layer, Linear
from fedtiny.models.parameters import ParameterKind


def sparseprop(work: Workload) -> Contender:
    """Every prunable layer by SparseProp, or dense where that was faster."""
    from sparseprop.modules import sparsify_if_faster  # noqa: PLC0415 - optional

    def make() -> nn.Module:
        torch.set_num_threads(work.threads)
        state = _state(work)
        layers = {}
        for layer in work.graph.prunable_layers:
            shape = work.graph.shapes[layer.input]
            size = (work.micro_batch, *(shape if isinstance(layer, Conv) else (layer.in_features,)))
            layers[layer.name] = sparsify_if_faster(_dense_layer(layer, state), size)
        return SwappedModule(work.graph, work.sparse.to_dense(), layers)

    return trained(work, make, work.flops(work.nnz), torch.contiguous_format)


def sparselab(work: Workload) -> Contender:
    """Every prunable layer by SparseLab.

    Raises:
        NoPeerError: one is a convolution.
    """
    from sparselab import SparseLinear  # noqa: PLC0415 - optional
    from sparselab.layout import from_dense  # noqa: PLC0415 - optional

    linear = [layer for layer in work.graph.prunable_layers if isinstance(layer, Linear)]
    if len(linear) < len(work.graph.prunable_layers):
        raise NoPeerError("SparseLab has no convolutions")

    def make() -> nn.Module:
        state, layers = _state(work), {}
        for layer in linear:
            made = SparseLinear(layer.in_features, layer.out_features, sparsity=0.99)
            rows = from_dense(state[ParameterKind.WEIGHT.of(layer.name)])
            made._csr = rows  # noqa: SLF001 - by itself it takes no mask but draws one
            made._values = nn.Parameter(torch.from_numpy(np.asarray(rows.values)))  # noqa: SLF001 - as it does
            made.bias = nn.Parameter(state[ParameterKind.BIAS.of(layer.name)].clone())
            layers[layer.name] = made
        return SwappedModule(work.graph, work.sparse.to_dense(), layers)

    return trained(work, make, work.flops(work.nnz), torch.contiguous_format)


def _state(work: Workload) -> Mapping[str, Tensor]:
    return {name: torch.from_numpy(array) for name, array in work.sparse.to_dense().items()}


def _dense_layer(layer: Layer, state: Mapping[str, Tensor]) -> nn.Module:
    """The layer as PyTorch has it.

    Raises:
        NoPeerError: SparseProp takes square kernels, evenly padded, without groups.
    """
    made: nn.Conv2d | nn.Linear
    if isinstance(layer, Linear):
        made = nn.Linear(layer.in_features, layer.out_features)
    else:
        _check_square(layer)
        made = nn.Conv2d(
            layer.in_channels,
            layer.out_channels,
            layer.kernel,
            layer.stride,
            layer.padding[:2],
            bias=not layer.batch_norm,
        )
    with torch.no_grad():
        made.weight.copy_(state[ParameterKind.WEIGHT.of(layer.name)])
        if made.bias is not None:
            made.bias.copy_(state[ParameterKind.BIAS.of(layer.name)])
    return made


def _check_square(layer: Conv) -> None:
    even = len(set(layer.kernel)) == len(set(layer.stride)) == len(set(layer.padding)) == 1
    if not even or layer.groups > 1:
        raise NoPeerError(f"SparseProp cannot do {layer.name}: square kernels without groups only")
