"""Layer densities: exact totals, ERK's proportions, noise within its bounds."""

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from fedtiny.doctor.boards import layer_nnz
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Conv, Linear, Pool
from fedtiny.models.zoo.resnet8 import resnet8
from fedtiny.models.zoo.smartwatch_cnn import smartwatch_cnn
from fedtiny.sparse.densities import (
    TOLERANCE,
    budgeted_counts,
    erdos_renyi_kernel,
    layer_counts,
    noisy,
    uniform,
    weight_budget,
)
from fedtiny.sparse.tensor import SparseError

shapes = st.dictionaries(
    st.text("abcdef", min_size=1, max_size=3),
    st.lists(st.integers(1, 12), min_size=1, max_size=4).map(tuple),
    min_size=1,
    max_size=5,
)
densities = st.floats(0.01, 1.0)
MODELS = [resnet8((3, 32, 32), 10), smartwatch_cnn((6, 1, 128), 7)]


def sizes_of(shapes):
    return {name: int(np.prod(shape)) for name, shape in shapes.items()}


def total(layer_densities, sizes):
    return sum(layer_densities[n] * sizes[n] for n in sizes) / sum(sizes.values())


def test_erk_by_hand():
    # ratios: (4+2+3+3)/72 = 1/6 and (6+4)/24 = 5/12; ε·(72/6 + 24·5/12) = 0.25·96 → ε = 12/11.
    erk = erdos_renyi_kernel({"conv": (4, 2, 3, 3), "linear": (6, 4)}, 0.25)
    assert erk["conv"] == pytest.approx(2 / 11)
    assert erk["linear"] == pytest.approx(5 / 11)


def test_erk_clips_again_when_clipping_pushes_the_next_layer_over():
    # Ratios 2, 0.4 and 0.1; at density 0.9 of 501: "a" is clipped at once, then "b", and "c" gets
    # the rest: (450.9 − 1 − 100) / 400.
    erk = erdos_renyi_kernel({"a": (1, 1), "b": (10, 10), "c": (20, 20)}, 0.9)
    assert (erk["a"], erk["b"]) == (1.0, 1.0)
    assert erk["c"] == pytest.approx((0.9 * 501 - 101) / 400)


@given(shapes, densities)
def test_erk_total_is_exact_and_unclipped_layers_keep_their_proportion(shapes, density):
    sizes = sizes_of(shapes)
    erk = erdos_renyi_kernel(shapes, density)
    assert total(erk, sizes) == pytest.approx(density)
    assert all(0 < d <= 1 for d in erk.values())
    scales = {n: erk[n] * sizes[n] / sum(shapes[n]) for n in shapes}
    open_scales = [scales[n] for n in shapes if erk[n] < 1 - 1e-9]
    if open_scales:
        assert max(open_scales) == pytest.approx(min(open_scales))
        # A clipped layer would have got more than 1 at the common scale.
        clipped = [scales[n] for n in shapes if erk[n] >= 1 - 1e-9]
        assert all(scale <= open_scales[0] * (1 + 1e-6) for scale in clipped)


@given(densities)
def test_uniform_is_the_same_everywhere(density):
    assert uniform({"a": 3, "b": 7}, density) == {"a": density, "b": density}


@pytest.mark.parametrize("density", [0.0, -0.1, 1.01, float("nan")])
def test_a_density_outside_0_1_is_refused(density):
    with pytest.raises(SparseError, match="density must lie in"):
        uniform({"a": 3}, density)
    with pytest.raises(SparseError, match="density must lie in"):
        erdos_renyi_kernel({"a": (3,)}, density)


def test_no_layers_are_refused():
    with pytest.raises(SparseError, match="at least one layer"):
        uniform({}, 0.5)


@pytest.mark.parametrize("graph", MODELS, ids=lambda graph: graph.name)
@pytest.mark.parametrize("density", [0.01, 0.05, 0.3])
@pytest.mark.parametrize("family", ["uniform", "erk"])
def test_noisy_draws_on_real_models_stay_in_the_window(graph, density, family):
    shapes = {layer.name: layer.weight_shape for layer in graph.prunable_layers}
    sizes = sizes_of(shapes)
    base = uniform(sizes, density) if family == "uniform" else erdos_renyi_kernel(shapes, density)
    different = set()
    for seed in range(10):
        drawn = noisy(base, sizes, density, np.random.default_rng(seed))
        kept = sum(layer_counts(drawn, sizes).values()) / sum(sizes.values())
        assert 1 - TOLERANCE < kept / density <= 1
        different.add(tuple(drawn.values()))
    assert len(different) == 10


def test_noise_is_half_of_the_base_at_most():
    sizes = dict.fromkeys("abcdefgh", 10_000)
    drawn = noisy(uniform(sizes, 0.1), sizes, 0.1, np.random.default_rng(3))
    assert all(0.05 <= d <= 0.15 for d in drawn.values())
    assert max(drawn.values()) - min(drawn.values()) > 0.01


@given(shapes, densities, st.integers(0, 2**32 - 1))
def test_noisy_never_fails_on_tiny_nets(shapes, density, seed):
    sizes = sizes_of(shapes)
    drawn = noisy(uniform(sizes, density), sizes, density, np.random.default_rng(seed))
    assert all(0 < d <= 1 for d in drawn.values())
    budget = density * sum(sizes.values())
    kept = sum(layer_counts(drawn, sizes).values())
    # Floors take less than one weight per layer, the minimum of one adds less than one.
    assert budget - len(sizes) - 0.02 * budget < kept < budget + len(sizes)


@given(shapes, densities, st.integers(0, 9))
def test_noisy_total_is_within_2_percent_where_weights_are_fine_enough(shapes, density, seed):
    sizes = sizes_of(shapes)
    budget = density * sum(sizes.values())
    assume(TOLERANCE * budget > len(sizes))
    drawn = noisy(uniform(sizes, density), sizes, density, np.random.default_rng(seed))
    kept = sum(layer_counts(drawn, sizes).values())
    assert abs(kept - budget) / budget < TOLERANCE


def test_layer_counts_floor_and_keep_one():
    assert layer_counts({"a": 0.05, "b": 0.05, "c": 1.0}, {"a": 119, "b": 3, "c": 7}) == {
        "a": 5,
        "b": 1,
        "c": 7,
    }


def test_binary_fractions_do_not_cost_a_weight():
    assert 0.29 * 100 < 29  # 28.999999999999996
    assert layer_counts({"a": 0.29}, {"a": 100}) == {"a": 29}


def one_layer(size):
    """A graph whose only prunable layer has ``size`` weights, a multiple of 4."""
    nodes = (
        Conv("first", INPUT, 1, 4, (1, 1), prunable=False),
        Conv("layer", "first", 4, size // 4, (1, 1)),
        Pool("pool", "layer"),
        Linear("last", "pool", size // 4, 2, prunable=False),
    )
    return Graph("one", (1, 4, 4), nodes)


@given(st.integers(1, 1000), st.sampled_from([1, 10, 100, 1000]), st.integers(1, 60))
@example(7, 1000, 25)  # 0.07 · 100 = 7.000000000000001
@example(29, 100, 1)  # 0.29 · 100 = 28.999999999999996
def test_everybody_keeps_the_same_number_of_weights(part, of, hundreds):
    """A density written as a decimal keeps exactly that part, in doctor, budgets and masks."""
    assume(part <= of)
    size, density = 100 * hundreds, part / of
    exact = max(1, size * part // of)
    assert layer_nnz(one_layer(size), density) == {"layer": exact}
    sizes = {"layer": size}
    assert layer_counts(uniform(sizes, density), sizes) == {"layer": exact}
    budget = weight_budget(sizes, density)
    assert max(1, budget) == exact
    if budget:
        assert budgeted_counts(uniform(sizes, density), sizes, budget) == {"layer": exact}
