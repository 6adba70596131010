"""Whatever fails after training, what was trained is kept, and how to go on is said."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from fedtiny.config import RunConfig
from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen
from fedtiny.runs import atomic, checkpoint
from fedtiny.runs.folder import RunFolder
from fedtiny.training import choice
from sims import pipeline
from sims.backends import Backend
from sims.pipeline import Pipeline

STEPS = {
    "dense reference": "sims.pipeline.run_federation",
    "export": "fedtiny.export.run.export_run",
    "boards": "fedtiny.doctor.run_modes.write_modes",
    "report": "fedtiny.report.write",
}


@pytest.mark.parametrize("error", [FedTinyError("no"), OSError(28, "No space left"), KeyError("x")])
@pytest.mark.parametrize("step", STEPS)
def test_the_model_is_kept_and_the_way_on_is_said(
    step: str,
    error: Exception,
    tiny_config: Callable[..., RunConfig],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Training itself is replaced by writing a model; each later step fails in three ways."""
    folder = RunFolder(tmp_path / "run")
    config = tiny_config("dense_reference=true", "export.enabled=true")

    def train(config: RunConfig, where: RunFolder, *rest: object) -> None:
        where.create(config)
        where.model.write_bytes(b"trained")
        if where.path.name == "dense_reference" and step == "dense reference":
            raise error

    def fail(*arguments: object, **named: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "run_federation", train)
    for name in list(STEPS)[1:]:
        monkeypatch.setattr(STEPS[name], fail if name == step else lambda *a, **k: {})
    console = Screen(stderr=True, width=1000)
    with pytest.raises(type(error)):
        Pipeline(config, folder, Backend.INLINE, console).run()
    said = capsys.readouterr().err
    assert folder.model.read_bytes() == b"trained"
    assert f"kept: {folder.model}" in said
    for command in ("sims.launch --resume", "fedtiny export", "fedtiny report"):
        assert f"{command} {folder.path}" in said


@pytest.mark.parametrize("when", ["open", "write", "flush", "fsync", "replace"])
def test_a_full_disk_never_costs_the_checkpoint_before(
    when: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.safetensors"
    checkpoint.write(path, {}, {"round": 1})
    before = {one.name: one.read_bytes() for one in tmp_path.iterdir()}

    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    match when:
        case "open":
            monkeypatch.setattr(Path, "open", full)
        case "fsync":
            monkeypatch.setattr(atomic.os, "fsync", full)
        case "replace":
            monkeypatch.setattr(Path, "replace", full)
        case _:
            real = Path.open

            def opened(self: Path, *rest: object, **named: object) -> object:
                file = real(self, *rest, **named)  # type: ignore[arg-type]
                return Full(file, when)

            monkeypatch.setattr(Path, "open", opened)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(path, {}, {"round": 2})
    monkeypatch.undo()
    assert {one.name: one.read_bytes() for one in tmp_path.iterdir()} == before
    assert checkpoint.read(path)[1] == {"round": 1}


class Full:
    """A file on a disk that fills up at one of its methods."""

    def __init__(self, file: object, when: str) -> None:
        self._file, self._when = file, when

    def __enter__(self) -> Full:
        return self

    def __exit__(self, *rest: object) -> None:
        self._file.close()  # type: ignore[attr-defined]

    def __getattr__(self, name: str) -> object:
        if name == self._when:
            raise OSError(28, "No space left on device")
        return getattr(self._file, name)


def test_the_dense_reference_trains_on_the_runs_own_engine(
    tiny_config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tiny_config()
    assert pipeline.dense_config(config).training.engine == "sparse"
    monkeypatch.setattr(choice, "available", lambda: False)
    assert pipeline.dense_config(config).training.engine == "torch"
