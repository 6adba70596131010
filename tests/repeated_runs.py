"""A run in this process, and what of it has to be the same again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from fedtiny.config import RunConfig
from fedtiny.runs.events import Event, Exchanged, RunFinished
from fedtiny.runs.folder import RunFolder
from fedtiny.wire.phase import Phase
from sims.backends import Backend, run_federation


def federate(
    config: RunConfig, path: Path, backend: Backend = Backend.INLINE, **settings: object
) -> RunFolder:
    """Run ``config``; its folder."""
    folder = RunFolder(path)
    run_federation(config, folder, backend, **settings)  # type: ignore[arg-type]
    return folder


def results(folder: RunFolder) -> list[Event]:
    """Every event but for what the clock tells, and joining: a resumed run joins again."""
    return [
        replace(event, seconds=0.0) if hasattr(event, "seconds") else event
        for event in folder.recording().events
        if not isinstance(event, RunFinished)
        and not (isinstance(event, Exchanged) and event.phase is Phase.JOIN)
    ]
