"""What users bring, each in a file of at most thirty lines, run as it stands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from fedtiny import models
from fedtiny.config import RunConfig, parse
from fedtiny.devices.catalog import catalog
from fedtiny.errors import FedTinyError
from fedtiny.export.run import export_run
from fedtiny.methods import METHODS, register
from fedtiny.models.ops import Add
from fedtiny.runs.events import Adjusted, Evaluated, Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from fedtiny.training.pretraining import pretrain
from sims.backends import Backend, run_federation
from sims.pipeline import preflight
from strategies import preparation

ROOT = Path(__file__).parents[1]
Example = Callable[[str], ModuleType]
NAMES = ("own_board", "own_data", "own_method", "own_model", "own_torch", "predict")


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch) -> Iterator[Example]:
    """Imports an example; what it registers is gone after the test."""
    monkeypatch.setattr(models, "_REGISTRY", dict(models._REGISTRY))
    before = dict(METHODS)
    yield lambda name: importlib.import_module(f"examples.{name}")
    METHODS.clear()
    METHODS.update(before)
    for name in NAMES:
        sys.modules.pop(f"examples.{name}", None)


def run(config: RunConfig, path: Path) -> RunFolder:
    folder = RunFolder(path / "run")
    run_federation(config, folder, Backend.INLINE)
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_an_example_is_short(name: str) -> None:
    code = [
        line
        for line in (ROOT / "examples" / f"{name}.py").read_text(encoding="utf-8").splitlines()
        if line.strip() and not line.startswith(("import", "from", '"""'))
    ]
    assert len(code) <= 30


def test_own_data(tmp_path: Path, example: Example) -> None:
    folder = run(example("own_data").my_run(tmp_path), tmp_path)
    last = [event for event in folder.events(Evaluated) if event.round == 3]
    assert {event.who for event in last if event.group == "unseen_people"} == {4, 5}
    assert sum(event.correct for event in last) > 0.95 * sum(event.count for event in last)
    assert TrainedModel.load(folder.model).graph.name == "mine"


def test_own_model(tmp_path: Path, example: Example) -> None:
    folder = run(example("own_model").my_run(), tmp_path)
    trained = TrainedModel.load(folder.model)
    assert any(isinstance(node, Add) for node in trained.graph.nodes)
    assert list(trained.model.weights) == ["down", "wide", "up"]


def test_own_torch(tmp_path: Path, example: Example, monkeypatch: pytest.MonkeyPatch) -> None:
    """Federated from its own weights, pruned, exported, verified."""
    begun_with = []

    def watched(*arguments: object, **named: object) -> object:
        begun_with.append(named["initial"])
        return pretrain(*arguments, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(preparation, "pretrain", watched)
    folder = run(example("own_torch").my_run(), tmp_path)
    trained = TrainedModel.load(folder.model)
    assert trained.graph.name == "Gestures"
    assert trained.graph.input_shape == (6, 1, 128)
    assert list(trained.model.weights) == ["body.0"]
    assert trained.model.density == pytest.approx(0.1, abs=0.01)
    exported = export_run(folder)
    assert exported["mismatches"] == 0 < exported["vectors"]
    recording = np.arange(6 * 300, dtype=np.int16).reshape(300, 6)
    named = example("predict").recognise(folder.firmware, recording)
    assert len(named) == 2
    assert set(named) <= set(trained.labels)
    config = folder.load_config()
    assert config.model.torch == "examples.own_torch:Gestures"
    torch.manual_seed(config.seed)
    own = example("own_torch").Gestures().stem[0].weight.detach().numpy()
    (begun,) = begun_with
    assert np.array_equal(begun["stem.0.weight"].reshape(own.shape), own)


def test_own_method(tmp_path: Path, example: Example) -> None:
    folder = run(example("own_method").my_run(), tmp_path)
    (adjusted,) = folder.events(Adjusted)
    assert all(adjusted.exchanged.values())
    kinds = {kind for event in folder.events(Exchanged) for kind in event.up.kinds}
    assert "values" in kinds
    assert not kinds & {"growth_indices", "growth_values"}
    own_method = example("own_method")
    register(own_method.Set)  # once more is no error
    with pytest.raises(FedTinyError, match="'fedtiny' is already registered"):
        register(type("Other", (own_method.Set,), {"name": "fedtiny"}))
    assert METHODS["set"] is own_method.Set


def test_a_module_that_is_not_there_is_named() -> None:
    with pytest.raises(FedTinyError, match=r"pruning\.module = 'nowhere'"):
        parse({"pruning": {"method": "set", "module": "nowhere"}})


def test_own_board(tmp_path: Path, example: Example) -> None:
    _, plans = preflight(example("own_board").my_run(tmp_path))
    assert {plan.partition for plan in plans if plan.device == "wrist_band"} == {1, 3, 5, 7}
    assert plans[1].budget_bytes == 8192 * 1024 // 4


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "cannot read"),
        ("[mine]\ntitle = 'Mine'", r"not like .*: mine\.core: Field required"),
        ("title = 'Mine'", "not like"),
        ("[mine", "not valid TOML"),
        ("wrist_band", "names of ours: esp32_s3"),
    ],
)
def test_a_wrong_catalogue_is_named(
    tmp_path: Path, example: Example, text: str | None, words: str
) -> None:
    path = tmp_path / "boards.toml"
    if text == "wrist_band":  # the example's board under the name of one of ours
        text = example("own_board").BOARD.replace(text, "esp32_s3")
    if text is not None:
        path.write_text(text, encoding="utf-8")
    with pytest.raises(FedTinyError, match=words):
        catalog(str(path))
