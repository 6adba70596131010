"""A device that trains sparse holds no PyTorch, and little more than Flower itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from fedtiny.engine import available, unavailable_reason
from sims.bench.client import run_process, write_message
from sims.flower_run import APP

needs_engine = pytest.mark.skipif(not available(), reason=str(unavailable_reason()))

ADDED_MB = 30
"""What a training client may add to a bare Flower client process."""

MODULES = """
import json, sys
from sims.bench.client_process import answer, load
bare = set(sys.modules)
answer(load(), __import__("pathlib").Path(sys.argv[1]))
print(json.dumps(sorted(set(sys.modules) - bare)))
"""


def modules_added(message: Path) -> set[str]:
    """Modules that our client brings into a process that has Flower's."""
    command = [sys.executable, "-c", MODULES, str(message)]
    done = subprocess.run(command, cwd=APP, capture_output=True, encoding="utf-8", check=True)
    return {name.partition(".")[0] for name in json.loads(done.stdout)}


def of_a_module_that_is_not_here(message: Path) -> Path:
    """The same message in a job whose network is a PyTorch module that only the server has."""
    with np.load(message) as file:
        arrays = dict(file)
    facts = json.loads(str(arrays["facts"]))
    overrides = [*json.loads(facts["run_config"]["overrides"]), "model.torch=nowhere:make"]
    facts["run_config"]["overrides"] = json.dumps(overrides)
    np.savez(message, **{**arrays, "facts": np.array(json.dumps(facts))})
    return message


@needs_engine
@pytest.mark.parametrize("kind", ["describe", "train"])
def test_a_sparse_client_imports_nothing_heavy_and_no_module_of_the_users(
    tmp_path: Path, kind: str
) -> None:
    message = write_message(tmp_path / "message.npz", kind, "sparse")
    added = modules_added(of_a_module_that_is_not_here(message))
    assert "fedtiny" in added
    assert not added & {"torch", "pandas", "matplotlib", "ray", "rich", "typer", "jinja2", "scipy"}


def test_a_masked_dense_client_imports_torch(tmp_path: Path) -> None:
    assert "torch" in modules_added(write_message(tmp_path / "message.npz", "train", "torch"))


@needs_engine
def test_a_training_client_adds_little_memory(tmp_path: Path) -> None:
    message = write_message(tmp_path / "message.npz", "train", "sparse")
    added = run_process("answer", str(message))["rss_mb"] - run_process("bare")["rss_mb"]
    assert 0 < added < ADDED_MB
