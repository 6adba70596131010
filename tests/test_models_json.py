"""Graphs as JSON: every one comes back, and damaged text is refused in our own words."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import any_graphs

from fedtiny.models import build
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, GraphError, Linear, Pool

GRAPH = Graph(
    "small",
    (2, 4, 4),
    (
        Conv("stem", INPUT, 2, 4, (3, 3), padding=(1, 1), prunable=False),
        Pool("pool", "stem"),
        Linear("classifier", "pool", 4, 3, prunable=False),
    ),
)


@settings(max_examples=100, deadline=None)
@given(graph=any_graphs())
def test_any_graph_comes_back(graph: Graph) -> None:
    text = graph.to_json()
    again = Graph.from_json(text)
    assert again == graph
    assert again.to_json() == text


@pytest.mark.parametrize(
    "model", ["ds_cnn", "mobilenet_v1", "resnet18", "resnet8@5", "smartwatch_cnn", "vgg11"]
)
def test_every_model_of_the_zoo_comes_back(model: str) -> None:
    graph = build(model, (3, 64, 64), 10)
    assert Graph.from_json(graph.to_json()) == graph
    assert [layer.name for layer in graph.prunable_layers] == [x.name for x in graph.layers][1:-1]


def data() -> dict[str, Any]:
    parsed: dict[str, Any] = json.loads(GRAPH.to_json())
    return parsed


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        (("format",), 2, "format 2"),
        (("loss",), "hinge", "loss must be one of cross_entropy"),
        (("outputs",), ["nobody"], "name of no node"),
        (("outputs",), "classifier", "must be a list"),
        (("input_shape",), [2, 4], "three integers"),
        (("input_shape",), [2, 0, 4], "no sample has the shape"),
        (("extra",), 1, "odd: extra"),
        (("name",), "*/ system(0); /*", "ASCII letters"),
        (("nodes",), [], "has no nodes"),
        (("nodes", 0), None, "a node must be an object"),
        (("nodes", 0, "op"), "attention", "unknown op; known: conv, linear, add, concat, pool"),
        (("nodes", 0, "op"), ["conv"], "op must be a string"),
        (("nodes", 0, "name"), "stem\n", "ASCII letters"),
        (("nodes", 0, "dilation"), 2, "unknown field 'dilation'"),
        (("nodes", 0, "kernel"), [3], "two integers"),
        (("nodes", 0, "stride"), [0, 1], "stride must be at least 1"),
        (("nodes", 0, "groups"), 0, "groups must be at least 1"),
        (("nodes", 0, "padding"), [-1, 0], "padding must be at least 0"),
        (("nodes", 0, "padding"), [10**9, 10**9], "too large"),
        (("nodes", 0, "out_channels"), True, "integer of 32 bits"),
        (("nodes", 0, "out_channels"), 4.0, "integer of 32 bits"),
        (("nodes", 0, "out_channels"), 10**30, "integer of 32 bits"),
        (("nodes", 0, "activation"), "gelu", "one of none, relu, relu6, hard_swish"),
        (("nodes", 0, "batch_norm"), "yes", "true or false"),
        (("nodes", 1, "kernel"), [-1, 2], "kernel must be at least 1"),
        (("nodes", 1, "stride"), [0, 0], "stride must be at least 1"),
        (("nodes", 2, "trainable"), 0, "true or false"),
        (("nodes", 2, "name"), "stem", "used twice"),
    ],
)
def test_a_wrong_value_is_named(path: tuple[Any, ...], value: object, words: str) -> None:
    changed = data()
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises(GraphError, match=words):
        Graph.from_json(json.dumps(changed))


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "[" * 100_000, "9" * 5_000, "NaN"])
def test_what_is_no_graph_is_refused(text: str) -> None:
    with pytest.raises(GraphError, match="a graph must be"):
        Graph.from_json(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 9) | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(graph=any_graphs(), drawn=st.data())
def test_a_mutated_graph_is_refused_or_fits_together(graph: Graph, drawn: st.DataObject) -> None:
    changed = json.loads(graph.to_json())
    for _ in range(drawn.draw(st.integers(1, 3))):
        parent: Any = changed
        while True:
            keys = list(parent) if isinstance(parent, dict) else range(len(parent))
            if not keys:
                break
            key = drawn.draw(st.sampled_from(keys))
            if isinstance(parent[key], dict | list) and drawn.draw(st.booleans()):
                parent = parent[key]
                continue
            if drawn.draw(st.booleans()):
                parent[key] = drawn.draw(JSON)
            else:
                del parent[key]
            break
    try:
        found = Graph.from_json(json.dumps(changed))
    except GraphError:
        return
    assert Graph.from_json(found.to_json()) == found


@settings(max_examples=100, deadline=None)
@given(text=st.text(), at=st.integers(0, 10_000), cut=st.integers(0, 40))
def test_text_cut_and_pasted_is_refused_or_fits_together(text: str, at: int, cut: int) -> None:
    whole = GRAPH.to_json()
    at %= len(whole)
    try:
        found = Graph.from_json(whole[:at] + text + whole[at + cut :])
    except GraphError:
        return
    assert Graph.from_json(found.to_json()) == found
