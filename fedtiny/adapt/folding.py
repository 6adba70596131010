"""A finished model without batch norms: what freezing needs, and what a device runs anyway."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from fedtiny.models.graph import Graph
from fedtiny.models.ops import Conv
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.sparse_model import SparseModel
from fedtiny.quant.fold import fold
from fedtiny.sparse.tensor import Floats, SparseTensor


def folded(graph: Graph, model: SparseModel) -> tuple[Graph, SparseModel]:
    """The same function of the same weights, batch norms in convolutions' weights and biases.

    Absent weights stay absent, and the running statistics are those of the federation for good:
    the few samples of one wearer make none.

    Raises:
        QuantizationError: a parameter or statistic is not finite.

    >>> from fedtiny.bench import synthetic
    >>> from fedtiny.models import smartwatch_cnn
    >>> graph = smartwatch_cnn((6, 1, 128), 7)
    >>> plain, model = folded(graph, synthetic.float_model(graph, 0.1))
    >>> plain.batch_norms, sorted(model.weights), model.dense["conv1.bias"].shape
    ((), ['conv2', 'conv3', 'conv4'], (32,))
    """
    nodes = tuple(
        replace(node, batch_norm=False) if isinstance(node, Conv) else node for node in graph.nodes
    )
    weights: dict[str, SparseTensor] = {}
    dense: dict[str, Floats] = {}
    for layer in graph.layers:
        found = fold(layer, model)
        values = found.values.astype(np.float32)
        if layer.name in model.weights:
            weights[layer.name] = SparseTensor(model.weights[layer.name].mask, values)
        else:
            dense[ParameterKind.WEIGHT.of(layer.name)] = values.reshape(layer.weight_shape)
        dense[ParameterKind.BIAS.of(layer.name)] = found.bias.astype(np.float32)
    return replace(graph, nodes=nodes), SparseModel(weights, dense)
