"""The values of one short run, pinned per instruction set: what no rebuilding may move.

Everything in it is the sparse engine's, numpy's and ours: no pre-training, which PyTorch does with
whatever kernels the processor has. If a change is meant to change values, the digests are what
``pytest tests/test_pinned_values.py`` says, and the commit says why.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fedtiny.config import RunConfig
from fedtiny.engine import available, library
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from sims.backends import Backend, run_federation

PINNED = {
    "avx2": "02773e53fea7aa9e",
    "avx512": "85379d9dbd90bc1e",
    "baseline": "8d8afadb22670a74",
}
"""By instruction set; last moved when register tiles took other shapes. NEON: not at hand."""

SHORT = (
    "training.engine=sparse",
    "training.batch_size=8",
    "model.name=smartwatch_cnn@8",
    "data.limit=200",
    "pretraining.epochs=0",
    "pruning.density=0.1",
    "federation.rounds=3",
    "federation.evaluate_every=3",
)


def digest(trained: TrainedModel) -> str:
    """Of names, types, shapes and bytes of every array; the manifest may differ."""
    arrays, total = trained.arrays(), hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return total.hexdigest()[:16]


@pytest.mark.skipif(not available(), reason="the engine is not compiled here")
def test_a_short_run_gives_the_values_it_always_gave(
    tiny_config: Callable[..., RunConfig], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, found = library.load(), {}
    here = [name for name in engine.instruction_sets if name in PINNED]
    if not here:
        pytest.skip(f"nothing is pinned for {', '.join(engine.instruction_sets)}")
    for name in here:
        monkeypatch.setattr(engine, "instruction_sets", (name,))
        folder = RunFolder(tmp_path / name)
        run_federation(tiny_config(*SHORT), folder, Backend.INLINE)
        found[name] = digest(TrainedModel.load(folder.model))
    assert found == {name: PINNED[name] for name in here}
