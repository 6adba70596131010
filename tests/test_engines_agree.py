"""A whole run trains the same model, whichever engine the devices have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from fedtiny.config import RunConfig
from fedtiny.engine import available, unavailable_reason
from fedtiny.runs.events import Adjusted, Evaluated, RoundFinished, RunStarted
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from sims.backends import Backend, run_federation

ROUNDS = 4
SETTINGS = (
    f"federation.rounds={ROUNDS}",
    "pruning.stop=2",
    "training.learning_rate=0.02",
    "devices.fleet=[]",  # budgets would give the engines different micro-batches
)


@pytest.fixture
def federate(tmp_path: Path, tiny_config: Callable[..., RunConfig]) -> Callable[[str], RunFolder]:
    """The demo's federation on one engine, cut short."""

    def run(engine: str) -> RunFolder:
        folder = RunFolder(tmp_path / engine)
        config = tiny_config(*SETTINGS, f"training.engine={engine}")
        run_federation(config, folder, Backend.INLINE)
        return folder

    return run


def losses(folder: RunFolder) -> list[float]:
    return [event.loss for event in folder.events(RoundFinished)]


def accuracy(folder: RunFolder) -> float:
    last = [event for event in folder.events(Evaluated) if event.round == ROUNDS]
    return sum(e.correct for e in last) / sum(e.count for e in last)


def adjusted_layers(folder: RunFolder) -> list[list[str]]:
    return [list(event.exchanged) for event in folder.events(Adjusted)]


@pytest.mark.skipif(not available(), reason=str(unavailable_reason()))
def test_both_engines_train_the_same_model(federate: Callable[[str], RunFolder]) -> None:
    sparse, masked = federate("sparse"), federate("torch")
    assert sparse.events(RunStarted)[0].engine != masked.events(RunStarted)[0].engine
    np.testing.assert_allclose(losses(sparse), losses(masked), rtol=1e-4)
    assert len(losses(sparse)) == ROUNDS
    assert accuracy(sparse) == pytest.approx(accuracy(masked), abs=0.01)
    assert adjusted_layers(sparse) == adjusted_layers(masked) != []
    ours, theirs = (TrainedModel.load(folder.model).model for folder in (sparse, masked))
    for name, mask in theirs.masks.items():
        # A gradient in the last bits may decide between two candidates for growth.
        common = np.intersect1d(ours.masks[name].indices, mask.indices)
        assert len(common) >= 0.99 * mask.nnz, name
    dense, expected = ours.to_dense(), theirs.to_dense()
    for name, value in expected.items():
        difference = np.linalg.norm(dense[name] - value) / np.linalg.norm(value)
        assert difference < 1e-3, name
