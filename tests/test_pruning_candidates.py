"""The candidate pool: densities, prefixes, and the wire."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fedtiny.models.zoo.resnet8 import resnet8
from fedtiny.models.zoo.smartwatch_cnn import smartwatch_cnn
from fedtiny.pruning.candidates import build_candidates, pack_pool, unpack_pool
from fedtiny.sparse.tensor import SparseError

MODELS = [resnet8((3, 32, 32), 10), smartwatch_cnn((6, 1, 128), 7)]


def random_weights(shapes, seed=0, levels=None):
    rng = np.random.default_rng(seed)
    draw = rng.standard_normal if levels is None else lambda s: rng.integers(-levels, levels, s)
    return {name: np.asarray(draw(shape), np.float32) for name, shape in shapes.items()}


def model_weights(graph, seed=0):
    return random_weights({la.name: la.weight_shape for la in graph.prunable_layers}, seed)


def nnz(candidate):
    return sum(tensor.nnz for tensor in candidate.values())


def test_by_hand():
    weights = {
        "a": np.array([[1, -5, 3, 0], [2, 5, -3, 1]], np.float32),
        "b": np.array([0.1, -0.2, 0.3, 0.2], np.float32),
    }
    pool = build_candidates(weights, 0.5, 1, np.random.default_rng(0))
    assert pool.size == 1
    assert pool.counts.tolist() == [[4, 2]]
    assert pool.layers["a"].order.tolist() == [1, 5, 2, 6]
    assert pool.layers["a"].values.tolist() == [-5, 5, 3, -3]
    candidate = pool.candidate(0)
    assert candidate["a"].to_dense().tolist() == [[0, -5, 3, 0], [0, 5, -3, 0]]
    assert candidate["b"].mask.indices.tolist() == [1, 2]  # of the equal 0.2 the first


@pytest.mark.parametrize("graph", MODELS, ids=lambda graph: graph.name)
@pytest.mark.parametrize("density", [0.01, 0.05, 0.5, 1.0])
def test_every_candidate_of_a_real_model_is_within_2_percent_below(graph, density):
    weights = model_weights(graph)
    prunable = sum(weight.size for weight in weights.values())
    pool = build_candidates(weights, density, 8, np.random.default_rng(1))
    for c in range(pool.size):
        assert 0.98 * density < nnz(pool.candidate(c)) / prunable <= density
    uniform = {name: tensor.nnz for name, tensor in pool.candidate(0).items()}
    assert uniform == {name: int(density * weight.size) for name, weight in weights.items()}
    if density < 1:
        assert len({tuple(row) for row in pool.counts.tolist()}) == pool.size


def test_families_take_turns():
    graph = MODELS[0]
    weights = model_weights(graph)
    sizes = np.array([weight.size for weight in weights.values()])
    pool = build_candidates(weights, 0.05, 9, np.random.default_rng(1))
    densities = pool.counts / sizes
    # Uniform noise keeps every layer in 0.05 · [½, 1½]; ERK gives the smallest layers far more.
    floor = 1 / sizes
    for c in range(1, pool.size, 2):
        assert (densities[c] <= 0.075).all()
        assert (densities[c] >= 0.025 - floor).all()
    for c in range(2, pool.size, 2):
        assert densities[c].max() > 0.1


@st.composite
def nets(draw):
    names = draw(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True))
    side = st.lists(st.integers(1, 8), min_size=1, max_size=4)
    return {name: tuple(draw(side)) for name in names}


@settings(deadline=None, max_examples=60)
@given(nets(), st.floats(0.02, 1.0), st.integers(1, 5), st.integers(0, 99))
def test_invariants_on_any_net(shapes, density, size, seed):
    weights = random_weights(shapes, seed, levels=3)  # a few values: ties everywhere
    prunable = sum(weight.size for weight in weights.values())
    budget = density * prunable
    if round(budget, 6) < len(shapes):
        with pytest.raises(SparseError, match="raise it so that every layer keeps"):
            build_candidates(weights, density, size, np.random.default_rng(seed))
        return
    pool = build_candidates(weights, density, size, np.random.default_rng(seed))
    assert (pool.counts >= 1).all()
    kept = pool.counts.sum(axis=1)
    assert (kept <= round(budget, 6)).all()
    assert (kept > budget * 0.98 - len(shapes)).all()
    for l, (name, weight) in enumerate(weights.items()):  # noqa: E741
        # The union is the largest prefix that any candidate uses, and no more leaves the server.
        assert len(pool.layers[name].order) == pool.counts[:, l].max()
        flat = weight.ravel()
        order = sorted(range(flat.size), key=lambda i, flat=flat: (-abs(flat[i]), i))
        for c in range(pool.size):
            tensor = pool.candidate(c)[name]
            assert tensor.mask.indices.tolist() == sorted(order[: pool.counts[c, l]])
            assert np.array_equal(tensor.values, flat[tensor.mask.indices])

    unpacked = unpack_pool(pack_pool(pool), shapes)
    assert np.array_equal(unpacked.counts, pool.counts)
    for name, layer in pool.layers.items():
        other = unpacked.layers[name]
        assert other.shape == layer.shape
        assert np.array_equal(other.order, layer.order)
        assert np.array_equal(other.values, layer.values)


def test_prefixes_are_nested():
    pool = build_candidates(model_weights(MODELS[1]), 0.05, 6, np.random.default_rng(0))
    for l, name in enumerate(pool.layers):  # noqa: E741
        held = [
            set(pool.candidate(c)[name].mask.indices.tolist())
            for c in np.argsort(pool.counts[:, l])
        ]
        assert all(small <= large for small, large in pairwise(held))


def test_the_same_generator_gives_the_same_pool():
    weights = model_weights(MODELS[1])
    one, two = (build_candidates(weights, 0.05, 6, np.random.default_rng(7)) for _ in range(2))
    assert np.array_equal(one.counts, two.counts)


def test_the_pool_travels_in_three_arrays_of_a_small_part_of_the_model():
    weights = model_weights(MODELS[1])
    arrays = pack_pool(build_candidates(weights, 0.05, 8, np.random.default_rng(0)))
    assert {name: array.dtype for name, array in arrays.items()} == {
        "values": np.float32,
        "indices": np.uint8,
        "counts": np.int32,
    }
    dense_bytes = sum(weight.nbytes for weight in weights.values())
    assert sum(array.nbytes for array in arrays.values()) < 0.15 * dense_bytes


def test_arrays_that_do_not_fit_are_refused():
    shapes = {"a": (4, 4), "b": (8,)}
    arrays = pack_pool(build_candidates(random_weights(shapes), 0.5, 3, np.random.default_rng(0)))
    with pytest.raises(SparseError, match="the pool's masks hold"):
        unpack_pool({**arrays, "values": arrays["values"][:-1]}, shapes)
    with pytest.raises(SparseError, match="counts more weights"):
        unpack_pool({**arrays, "counts": arrays["counts"] + 9}, shapes)
    with pytest.raises(SparseError, match=r"counts must be \(C, 2\)"):
        unpack_pool({**arrays, "counts": arrays["counts"][:, :1]}, shapes)
    with pytest.raises(SparseError, match="truncated or corrupt"):
        unpack_pool({**arrays, "indices": arrays["indices"][:-1]}, shapes)
    with pytest.raises(SparseError, match="must be 1-D uint8"):
        unpack_pool({**arrays, "indices": arrays["indices"].astype(np.int32)}, shapes)


def test_an_empty_pool_is_refused():
    with pytest.raises(SparseError, match="at least one candidate"):
        build_candidates({"a": np.ones((4,), np.float32)}, 0.5, 0, np.random.default_rng(0))


def test_weights_that_diverged_are_refused():
    with pytest.raises(SparseError, match="NaN"):
        build_candidates({"a": np.full((4,), np.nan, np.float32)}, 0.5, 1, np.random.default_rng(0))
