"""From a way to adapt to what the device learns beside the int8 model."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from fedtiny.adapt.methods import METHODS
from fedtiny.adapt.methods.repnet_one_way import MIDDLE, OUT
from fedtiny.adapt.recipe import AdaptError, Recipe, Task, head_of
from fedtiny.config.adapt import MethodName
from fedtiny.firmware.side_net import PooledMap, Rung, SideNet
from fedtiny.models.graph import Graph, Loss
from fedtiny.models.ops import Activation, Conv, Pool
from fedtiny.models.parameters import ParameterKind
from fedtiny.quant.integer_model import IntegerGraph
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.sparse.tensor import Floats

RATES: Mapping[MethodName, float] = {MethodName.HEAD: 1e-2, MethodName.REPNET_ONE_WAY: 3e-3}
"""Methods that a microcontroller learns by, with the learning rates of docs/results/adapt.md."""


def side_net(trained: TrainedModel, model: IntegerGraph, method: MethodName, seed: int) -> SideNet:
    """What ``model`` learns beside it.

    Args:
        trained: a finished model.
        model: the same in int8.
        method: one of :data:`RATES`.
        seed: of new weights.

    Raises:
        AdaptError: another method, or a model that cannot learn by it.
    """
    if method not in RATES:
        raise AdaptError(
            f"{method.value} needs gradients through the backbone, which is int8 code in flash; "
            f"on the device learn by {' or '.join(RATES)}"
        )
    graph = trained.graph
    _check(graph)
    none = np.zeros((0, *graph.input_shape), np.float32)
    recipe = METHODS[method](Task(graph, trained.model, none, np.zeros(0, np.int64), seed))
    rungs = _rungs(recipe.graph, graph, model)
    features = PooledMap.of(model, head_of(graph).input, (1, 1))
    return SideNet(
        method.value,
        tuple(rungs.values()),
        features,
        MIDDLE if rungs else 0,
        graph.classes,
        _start(recipe, rungs, features),
        RATES[method],
    )


def _check(graph: Graph) -> None:
    head = head_of(graph)
    if head.activation is not Activation.NONE or graph.loss is not Loss.CROSS_ENTROPY:
        raise AdaptError(
            f"{graph.name}: only a linear classifier trained by cross-entropy is learned on the "
            f"device, this one has {head.activation.value} and {graph.loss.value}"
        )


def _rungs(side: Graph, backbone: Graph, model: IntegerGraph) -> dict[str, Rung]:
    """By name of the convolution: those that read a pooled map of the backbone."""
    own = {node.name for node in backbone.nodes}
    pools = {n.name: n for n in side.nodes if isinstance(n, Pool) and n.name not in own}
    rungs = {}
    for node in side.nodes:
        if isinstance(node, Conv) and node.input in pools:
            pool = pools[node.input]
            kernel, _ = pool.window(side.shapes[pool.input])
            read = PooledMap.of(model, pool.input, kernel)
            rungs[node.name] = Rung(read, node.out_channels, node.groups, node.kernel)
    return rungs


def _start(recipe: Recipe, rungs: Mapping[str, Rung], features: PooledMap) -> Floats:
    """The recipe's parameters, weights as OHWI, the head's features as HWC."""
    dense = recipe.model.dense

    def parameters(layer: str) -> list[Floats]:
        return [dense[kind.of(layer)] for kind in (ParameterKind.WEIGHT, ParameterKind.BIAS)]

    parts: list[Floats] = []
    for name in rungs:
        weight, bias = parameters(name)
        parts += [weight.transpose(0, 2, 3, 1), bias]
    if rungs:
        parts += parameters(OUT)
    weight, bias = parameters(head_of(recipe.graph).name)
    parts += [weight.reshape(-1, *features.shape).transpose(0, 2, 3, 1), bias]
    return np.concatenate([part.ravel() for part in parts]).astype(np.float32)
