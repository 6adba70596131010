"""Every op and every activation has every pass of fedtiny.models, and they agree."""

from dataclasses import fields, is_dataclass
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from random_graphs import any_graphs

from fedtiny.models.cost import layer_costs, parameter_count, statistics_count
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.ops import (
    INPUT,
    OPS,
    Activation,
    Add,
    Concat,
    Conv,
    Layer,
    Linear,
    Node,
    Pool,
    Upsample,
    codec,
)
from fedtiny.models.ops.activation import NUMPY
from fedtiny.models.ops.op import Op
from fedtiny.models.parameters import ParameterKind
from fedtiny.models.torch_module import GraphModule
from fedtiny.models.torch_ops import ACTIVATIONS, forward
from fedtiny.seeding import rng

NODES = get_args(Node)

EXAMPLES: dict[type, Node] = {
    Conv: Conv("conv", INPUT, 3, 4, (2, 2), (2, 1), (1, 0)),
    Linear: Linear("linear", INPUT, 3 * 5 * 4, 6, Activation.HARD_SWISH),
    Add: Add("add", INPUT, INPUT),
    Concat: Concat("concat", (INPUT, INPUT), 6),
    Pool: Pool("pool", INPUT, "max", (2, 2), (1, 2), (0, 1, 1, 0)),
    Upsample: Upsample("upsample", INPUT, (7, 8)),
}
"""One of each op that reads a (3, 5, 4) input."""


@pytest.mark.parametrize("op", NODES)
def test_every_op_has_a_file_name_a_torch_form_and_an_example_here(op: type[Node]) -> None:
    assert op in OPS.values()
    assert op in forward.registry
    assert op in EXAMPLES
    assert is_dataclass(op)
    for member in ("check", "output_shape", "macs", "inputs", "parameters", "activation"):
        assert hasattr(op, member)


def test_tables_hold_no_op_or_activation_that_is_gone() -> None:
    assert set(OPS.values()) == set(NODES) == set(EXAMPLES)
    assert set(forward.registry) == {object, *NODES}
    assert set(NUMPY) == set(ACTIVATIONS) == set(Activation)


@pytest.mark.parametrize("op", NODES)
def test_each_op_is_of_one_mind_about_shape_cost_parameters_and_json(op: type[Node]) -> None:
    node: Op = EXAMPLES[op]
    graph = Graph("one", (3, 5, 4), (EXAMPLES[op],))
    x = torch.randn(2, 3, 5, 4)
    module = GraphModule(graph)
    module.load(initial_state(graph, rng(0, "ops")))
    assert module(x).shape == (2, np.prod(graph.shapes[node.name]))
    assert node.parameters == graph.parameters + graph.statistics
    is_layer = op in get_args(Layer)
    assert bool(node.parameters) == is_layer == (node.macs((3, 5, 4)) > 0)
    assert [cost.macs for cost in layer_costs(graph)] == [node.macs((3, 5, 4))] * is_layer
    encoded = codec.encode(EXAMPLES[op])
    assert encoded.keys() == {"op", *(field.name for field in fields(op))}


@pytest.mark.parametrize("activation", list(Activation))
def test_numpy_and_torch_compute_the_same_activation(activation: Activation) -> None:
    x = np.linspace(-8, 8, 1001).reshape(1, -1)
    found = ACTIVATIONS[activation](torch.from_numpy(x.copy())).numpy()
    np.testing.assert_allclose(activation(x), found, rtol=1e-12, atol=1e-15)
    assert (np.diff(activation(x)) >= 0).all() or not activation.clamps


@settings(max_examples=60, deadline=None)
@given(graph=any_graphs())
def test_torch_produces_the_shapes_and_names_of_any_graph(graph: Graph) -> None:
    module = GraphModule(graph).eval()
    module.load(initial_state(graph, rng(0, "ops")))
    seen: dict[str, tuple[int, ...]] = {}
    logits = module(torch.randn(2, *graph.input_shape), lambda k, v: seen.update({k: v.shape}))
    assert [INPUT, *seen] == list(graph.observed)
    assert logits.shape == (2, np.prod(graph.shapes[graph.logits]))
    for name, shape in graph.shapes.items():
        assert name == INPUT or np.prod(seen[name]) == 2 * np.prod(shape)


@settings(max_examples=60, deadline=None)
@given(graph=any_graphs())
def test_the_parameter_table_is_in_checkpoint_order_with_unique_names(graph: Graph) -> None:
    table = graph.parameter_table
    assert len({row.name for row in table}) == len(table)
    assert [row.kind.is_statistic for row in table] == sorted(r.kind.is_statistic for r in table)
    assert parameter_count(graph) + statistics_count(graph) == sum(np.prod(r.shape) for r in table)
    for layer in graph.layers:
        weight = next(row for row in table if row.name == ParameterKind.WEIGHT.of(layer.name))
        assert (weight.shape, weight.prunable) == (layer.weight_shape, layer.prunable)
    assert {row.layer for row in table if row.prunable} == {x.name for x in graph.prunable_layers}
    state = initial_state(graph, rng(1, "ops"))
    assert {k: v.shape for k, v in state.items()} == {row.name: row.shape for row in table}
