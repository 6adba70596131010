"""Logits that are a map: the engine computes them; it has no loss for them."""

import numpy as np
import pytest
from builders import batch_of, random_model
from engine_oracle import Oracle

from fedtiny.engine import EngineOptions, Executor, available
from fedtiny.engine.library import EngineError
from fedtiny.models.graph import Graph
from fedtiny.models.ops import INPUT, Activation, Conv

pytestmark = pytest.mark.skipif(not available(), reason="the engine is not compiled here")


@pytest.fixture(scope="module")
def graph():
    none = Activation.NONE
    return Graph(
        "map",
        (3, 9, 11),
        (
            Conv("stem", INPUT, 3, 5, (3, 3), (2, 2), (1, 1), prunable=False),
            Conv("cells", "stem", 5, 4, (1, 1), batch_norm=False, activation=none, prunable=False),
        ),
    )


@pytest.mark.parametrize("samples", [1, 5, 20])
def test_a_map_of_logits_is_torchs(graph, samples):
    model = random_model(graph, 1.0)
    x, _ = batch_of(graph, samples)
    found = Executor(graph, model, EngineOptions(4)).logits(x)
    expected = Oracle(graph, model).logits(x, training=False).detach().numpy()
    assert found.shape == (samples, 4, 5, 6)
    np.testing.assert_allclose(found.reshape(samples, -1), expected, rtol=1e-4, atol=1e-5)


def test_there_is_no_loss_for_a_map(graph):
    executor = Executor(graph, random_model(graph, 1.0), EngineOptions(4))
    x, y = batch_of(graph, 4)
    for call in (executor.backward, executor.evaluate, lambda x, y: executor.growth(x, y, {})):
        with pytest.raises(EngineError, match="a loss for classifiers only"):
            call(x, y)


def test_a_norm_behind_the_logits_is_refused():
    graph = Graph("map", (3, 9, 11), (Conv("cells", INPUT, 3, 4, (1, 1), prunable=False),))
    with pytest.raises(EngineError, match=r"without batch norm\) without activation"):
        Executor(graph, random_model(graph, 1.0), EngineOptions(4))
