"""The paper's set-ups, on tiny files in the formats of the real ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fedtiny.config import load
from fedtiny.runs.events import Evaluated
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from sims.backends import Backend, run_federation
from sims.pipeline import preflight

CONFIGS = sorted(Path("sims/configs/paper").glob("*.toml"))

TINY = [
    "data.min_samples=10",
    "data.public_per_class=5",
    "data.partitions=2",
    "federation.rounds=1",
    "training.epochs=1",
    "training.batch_size=16",
    "pretraining.epochs=1",
    "pruning.density=0.1",
    "pruning.candidates=2",
    "pruning.interval=1",
    "pruning.stop=1",
]


def test_there_is_one_for_every_data_set_of_the_paper() -> None:
    sources = {load(path).data.source for path in CONFIGS}
    assert sources == {"cifar10", "cifar100", "svhn", "cinic10"}


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_is_the_papers(path: Path) -> None:
    config = load(path)
    assert (config.data.partitions, config.data.partitioner, config.data.alpha) == (
        10,
        "dirichlet",
        0.5,
    )
    assert (config.federation.rounds, config.training.epochs) == (300, 5)
    assert config.training.batch_size == 64
    assert (config.method.schedule.interval, config.method.schedule.stop) == (10, 100)
    assert (config.pruning.method, config.pruning.density) == ("fedtiny", 0.01)
    assert (config.training.engine, config.training.device) == ("auto", "auto")


@pytest.mark.parametrize("model", ["resnet18", "vgg11"])
@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_it_runs(
    path: Path, model: str, tmp_path: Path, write_published: Callable[..., Any]
) -> None:
    source = load(path).data.source
    write_published(source, tmp_path / "data", per_class=10)
    overrides = [f"data.path={tmp_path / 'data'}", f"model.name={model}@4", *TINY]
    config = load(path, overrides)
    graph, _ = preflight(config)
    assert graph.classes == (100 if source == "cifar100" else 10)
    folder = RunFolder(tmp_path / "run")
    run_federation(config, folder, Backend.INLINE)
    assert TrainedModel.load(folder.model).graph.name == f"{model}@4"
    groups = {event.group for event in folder.events(Evaluated)}
    assert groups == {"same_people", "unseen_people"}
