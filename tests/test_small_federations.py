"""The smallest federations go from data to report: one participant, one class, one round."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("flwr")

from fedtiny.config import parse
from fedtiny.report import write
from fedtiny.runs.folder import RunFolder
from sims.backends import Backend, run_federation
from sims.pipeline import preflight

# Whose each sample is, by class: owners 3 and 4 are held out.
EVEN = ([20, 20, 20, 10, 10], [20, 20, 20, 10, 10])
ONE_CLASS = ([20, 40, 20, 10, 10], [20, 0, 20, 10, 10])
EACH_ITS_CLASS = ([40, 40, 20, 10, 10], [0, 0, 30, 10, 10])
UNLIKE = ([4, 60, 4, 10, 10], [4, 60, 4, 10, 10])

CASES = {
    "one participant": (EVEN, {"federation": {"clients_per_round": 1}}),
    "one class": (ONE_CLASS, {}),
    "one class each": (EACH_ITS_CLASS, {"federation": {"clients_per_round": 1}}),
    "batches of one": (EVEN, {"training": {"batch_size": 1}, "pretraining": {"batch_size": 1}}),
    "few samples": (UNLIKE, {"training": {"batch_size": 5}}),
    "no pre-training": (ONE_CLASS, {"pretraining": {"epochs": 0}}),
    "an adjustment in the only round": (ONE_CLASS, {"pruning": {"stop": 1, "interval": 1}}),
}


def write_samples(path: Path, counts: tuple[list[int], list[int]]) -> None:
    y = np.repeat([0, 1], [sum(counts[0]), sum(counts[1])])
    owner = np.concatenate([np.repeat(np.arange(5), one) for one in counts])
    x = np.random.default_rng(0).integers(0, 100, (len(y), 1, 1, 16)) + 40 * y[:, None, None, None]
    np.savez(path, x=x.astype(np.int16), y=y, owner=owner)


@pytest.mark.parametrize("engine", ["sparse", "torch"])
@pytest.mark.parametrize("case", CASES)
def test_it_trains_and_reports(
    case: str, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fedtiny.report.plots.plot_run", lambda run, folder: {})
    counts, changes = CASES[case]
    write_samples(tmp_path / "x.npz", counts)
    tree = {
        "data": {"source": "npz", "path": str(tmp_path / "x.npz"), "partitions": 3},
        "model": {"name": "smartwatch_cnn@1"},
        "federation": {"rounds": 1},
        "training": {"epochs": 1, "batch_size": 16},
        "pretraining": {"epochs": 1},
        "pruning": {"candidates": 1, "density": 0.5},
        "export": {"enabled": False},
    }
    tree["training"]["engine"] = engine  # type: ignore[index]
    config = parse({key: {**one, **changes.get(key, {})} for key, one in tree.items()})
    preflight(config, tmp_path)
    folder = RunFolder(tmp_path / "run")
    run_federation(config, folder, Backend.INLINE)
    report = write(folder)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert folder.model.is_file()
