"""``model.torch``: a user's module in a config, the shapes it takes, what is wrong with it."""

from __future__ import annotations

import sys
from types import ModuleType

import numpy as np
import pytest
import torch
from torch import nn

from fedtiny.config import parse
from fedtiny.errors import FedTinyError
from fedtiny.models.ops import INPUT
from fedtiny.models.torch_module import GraphModule


class Series(nn.Module):
    """Takes (N, C, T) alone."""

    def __init__(self, input_shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(input_shape[0], 4, 3)
        self.fc = nn.Linear(4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.conv(x)).mean(2))


def flat() -> nn.Module:
    return nn.Sequential(nn.Linear(6 * 16, 8), nn.ReLU(), nn.Linear(8, 7))


def maps() -> nn.Module:
    return nn.Sequential(nn.Conv2d(6, 7, (1, 3)), nn.AdaptiveAvgPool2d(1), nn.Flatten())


@pytest.fixture(autouse=True)
def mine(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("mine_of_this_test")
    module.__dict__.update(Series=Series, flat=flat, maps=maps)
    monkeypatch.setitem(sys.modules, module.__name__, module)


def config(name: str, **others: object):
    return parse({"seed": 3, "model": {"torch": f"mine_of_this_test:{name}"}, **others})


@pytest.mark.parametrize(
    ("name", "form"), [("Series", (6, 16)), ("flat", (96,)), ("maps", (6, 1, 16))]
)
def test_a_module_gets_the_shape_that_it_takes(name: str, form: tuple[int, ...]) -> None:
    run = config(name)
    graph = run.graph((6, 1, 16), 7)
    assert graph.shapes[INPUT] == (6, 1, 16)
    assert graph.classes == 7
    torch.manual_seed(3)
    module = Series((6, 1, 16), 7) if name == "Series" else globals()[name]()
    ours = GraphModule(graph).eval()
    ours.load(run.model.weights(graph, run.seed))
    x = torch.randn(3, 6, 1, 16)
    with torch.no_grad():
        np.testing.assert_allclose(ours(x), module(x.reshape(3, *form)), atol=1e-5)


def test_the_runs_seed_draws_its_weights_and_nothing_elses() -> None:
    before = torch.random.get_rng_state()
    graphs = [config("flat", seed=seed).model for seed in (3, 3, 4)]
    drawn = [
        one.weights(one.build((6, 1, 16), 7, k), k)
        for one, k in zip(graphs, (3, 3, 4), strict=True)
    ]
    assert np.array_equal(drawn[0]["0.weight"], drawn[1]["0.weight"])
    assert not np.array_equal(drawn[0]["0.weight"], drawn[2]["0.weight"])
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "shape", "classes", "words"),
    [
        ({"torch": "mine_of_this_test:flat"}, (6, 1, 16), 5, "has 7 outputs for 5 classes"),
        ({"torch": "mine_of_this_test:flat"}, (6, 1, 17), 7, "fails on samples of shape"),
        ({"torch": "mine_of_this_test:gone"}, (6, 1, 16), 7, "no attribute 'gone'"),
        ({"torch": "mine_of_this_test"}, (6, 1, 16), 7, "write module:name"),
        ({"torch": "a:b", "name": "resnet8"}, (6, 1, 16), 7, "leave one out"),
        ({"torch": "a:b", "module": "mine"}, (6, 1, 16), 7, "leave one out"),
    ],
)
def test_what_is_wrong_with_it_is_said(
    settings: dict[str, str], shape: tuple[int, int, int], classes: int, words: str
) -> None:
    with pytest.raises(FedTinyError, match=words):
        parse({"model": settings}).graph(shape, classes)


def test_it_has_no_narrow_form() -> None:
    with pytest.raises(FedTinyError, match="Sequential has no narrow form"):
        config("maps", pruning={"method": "narrow"}).graph((6, 1, 16), 7)
