"""A part of a model: its graph, its way into the model and back, and channels in order."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from fedtiny.bench import synthetic
from fedtiny.models import Graph, build
from fedtiny.models.ops import INPUT, Conv, Linear, Pool
from fedtiny.models.torch_module import GraphModule
from fedtiny.tiers.block import block_of
from fedtiny.tiers.channels import NoPartError
from fedtiny.tiers.cut import cut, ranks_of
from fedtiny.tiers.rings import Rings, expected_density
from fedtiny.tiers.sorting import sort_channels

NETS = {
    "resnet8": ((1, 28, 28), 10),
    "mobilenet_v1": ((3, 32, 32), 2),
    "ds_cnn": ((1, 49, 10), 12),
    "smartwatch_cnn": ((6, 1, 128), 7),
}
SIZES = [(name, width) for name in NETS for width in (0.25, 0.6)]


def outputs(graph: Graph, state: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """PyTorch's logits in evaluation mode."""
    module = GraphModule(graph).eval()
    for name, array in state.items():
        module.tensor(name).data = torch.from_numpy(array.copy())
    with torch.no_grad():
        return module(torch.from_numpy(x)).numpy()


def batch(graph: Graph) -> np.ndarray:
    return np.random.default_rng(1).standard_normal((3, *graph.input_shape)).astype(np.float32)


@pytest.mark.parametrize(("name", "width"), SIZES)
def test_a_block_is_the_model_with_the_other_channels_silent(name, width):
    graph = build(name, *NETS[name])
    model = synthetic.float_model(graph, 0.4)
    block = block_of(graph, width)
    part = cut(model, block, 1.0, ranks_of(model))
    silent = {}
    for key, array in model.to_dense().items():  # what is outside of the block is 0
        silent[key] = np.zeros_like(array)
        where = block.axes[key].positions
        silent[key].reshape(-1)[where] = array.reshape(-1)[where]
    x = batch(graph)
    np.testing.assert_allclose(
        outputs(block.graph, part.to_dense(), x), outputs(graph, silent, x), rtol=1e-5, atol=1e-5
    )
    assert block.graph.nodes != graph.nodes


@pytest.mark.parametrize("name", NETS)
def test_channels_in_another_order_compute_the_same(name):
    graph = build(name, *NETS[name])
    state = synthetic.float_model(graph, 0.4).to_dense()
    ordered = sort_channels(graph, state)
    assert any(not np.array_equal(state[key], ordered[key]) for key in state)
    x = batch(graph)
    np.testing.assert_allclose(
        outputs(graph, ordered, x), outputs(graph, state, x), rtol=1e-4, atol=1e-4
    )


def test_the_first_channels_are_those_that_are_read_most():
    graph = build("smartwatch_cnn", *NETS["smartwatch_cnn"])
    ordered = sort_channels(graph, synthetic.float_model(graph, 0.4).to_dense())
    read = np.abs(ordered["conv2.weight"]).sum(axis=(0, 2, 3))
    assert (np.diff(read) <= 0).all()


@given(st.sampled_from(sorted(NETS)), st.sampled_from([0.2, 0.5, 0.9]), st.integers(0, 30))
def test_positions_go_in_and_out_again(name, width, shift):
    graph = build(name, *NETS[name])
    block = block_of(graph, width, shift)
    for layer in graph.layers:
        axes = block.weight(layer.name)
        local = np.arange(axes.size, dtype=np.int32)
        there = axes.outside(local)
        assert (np.diff(there) > 0).all()  # masks stay ascending
        assert axes.covers(there).all()
        assert np.array_equal(axes.inside(there), local)
        everything = np.arange(np.prod(layer.weight_shape), dtype=np.int32)
        assert np.array_equal(everything[axes.covers(everything)], there)


@given(st.sampled_from([0.02, 0.1, 0.5, 1.0]), st.sampled_from([0.05, 0.3, 1.0]))
def test_parts_are_nested_and_no_denser_than_asked(density, most):
    graph = build("resnet8", *NETS["resnet8"])
    model = synthetic.float_model(graph, density)
    ranks = ranks_of(model)
    small, large = (block_of(graph, width) for width in (0.25, 0.5))
    inner, outer = cut(model, small, most, ranks), cut(model, large, 1.0, ranks)
    sizes = sum(weight.mask.size for weight in inner.weights.values())
    assert inner.nnz <= max(most * sizes, len(inner.weights))
    for name, weight in inner.weights.items():
        held = small.weight(name).outside(weight.mask.indices)
        assert np.isin(held, large.weight(name).outside(outer.weights[name].mask.indices)).all()
        assert np.isin(held, model.weights[name].mask.indices).all()
        assert np.array_equal(weight.values, model.weights[name].to_dense().reshape(-1)[held])


def test_the_whole_of_a_model_is_the_model_itself():
    graph = build("resnet8", *NETS["resnet8"])
    model = synthetic.float_model(graph, 0.1)
    assert cut(model, block_of(graph, 1.0), 1.0, ranks_of(model)) is model
    assert block_of(graph, 1.0).graph is graph


@pytest.mark.parametrize("slope", [0.0, 1.0, 2.0])
def test_rings_hold_the_densities_that_the_slope_gives_them(slope):
    graph = build("resnet8", *NETS["resnet8"])
    rings = Rings(graph, (0.25, 0.5, 1.0), slope)
    for width in rings.widths:
        wanted = min(1.0, 0.1 * width**-slope)
        assert expected_density(rings, width, 0.1) == pytest.approx(wanted, abs=0.01)


def test_an_order_by_rings_fills_all_of_them_alike():
    graph = build("resnet8", *NETS["resnet8"])
    rings = Rings(graph, (0.25, 0.5, 1.0), 1.0)
    scores = {"stage3.conv2": synthetic.float_model(graph, 1.0).to_dense()["stage3.conv2.weight"]}
    ranked = rings.ranked(scores, 0.05)["stage3.conv2"].reshape(-1)
    for share in (0.5, 1.0):
        counts = [round(share * n) for n in rings.counts("stage3.conv2", 0.05)]
        kept = np.argsort(-ranked, kind="stable")[: sum(counts)].astype(np.int32)
        found = np.bincount(rings.of("stage3.conv2", kept), minlength=3)
        assert np.abs(found - counts).max() <= 1
        flat = np.abs(scores["stage3.conv2"]).reshape(-1)
        for ring in range(3):  # of each ring the largest
            members = np.flatnonzero(rings.of("stage3.conv2", np.arange(flat.size)) == ring)
            inside = kept[rings.of("stage3.conv2", kept) == ring]
            left_out = np.setdiff1d(members, inside)
            assert flat[inside].min() >= flat[left_out].max()


def test_groups_of_several_channels_have_no_part():
    nodes = (
        Conv("stem", INPUT, 1, 8, (3, 3)),
        Conv("grouped", "stem", 8, 8, (3, 3), groups=2),
        Pool("pool", "grouped"),
        Linear("classifier", "pool", 8, 2),
    )
    with pytest.raises(NoPartError, match="grouped convolves in 2 groups"):
        block_of(Graph("grouped", (1, 8, 8), nodes), 0.5)
