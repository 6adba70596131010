"""Everything that comes after training, done once before it in a temporary folder."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from math import prod
from pathlib import Path

from fedtiny.config import RunConfig
from fedtiny.data.simulated import Summary
from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import LedgerEntry, format_bytes
from fedtiny.models.cost import parameter_count
from fedtiny.models.graph import Graph
from fedtiny.runs.folder import RunFolder

_STATES = 4
"""Checkpoints on disk at once (two, and one being written), and the model."""
_STATE_BYTES = 12
"""Of a parameter in a checkpoint: value, index, and what a method may remember of it."""
_SAMPLE_BYTES = 2
_FIXED_BYTES = 20_000_000
"""Plots, metrics, kernels and compiled objects."""


def rehearse(
    config: RunConfig, graph: Graph, samples: Summary, plans: Sequence[LedgerEntry]
) -> None:
    """Export an untrained model and report on a run in which nothing happened.

    Args:
        config: of the run.
        graph: the model.
        samples: of the run's data.
        plans: of the devices that have a budget.

    Raises:
        FedTinyError: labels, units or names that cannot be drawn or written, a model that cannot
            be exported, a compiler that does not work, or a package that is missing.
    """
    try:
        from fedtiny.report.rehearsal import rehearse_report  # noqa: PLC0415 - pandas and matplotlib are slow to import, and optional

        with tempfile.TemporaryDirectory(prefix="fedtiny-") as temporary:
            folder = RunFolder(Path(temporary) / "run")
            folder.create(config)
            _export(config, graph, samples, folder)
            rehearse_report(folder, graph, plans)
    except ModuleNotFoundError as error:
        raise FedTinyError(
            f"the steps after training need the package {error.name}: "
            "pip install 'fedtiny[sim,report,firmware]'"
        ) from error


def _export(config: RunConfig, graph: Graph, samples: Summary, folder: RunFolder) -> None:
    from fedtiny.export.rehearsal import rehearse_export, untrained  # noqa: PLC0415 - base installations lack some
    from fedtiny.export.run import EXPORT_JSON, own_prefix  # noqa: PLC0415 - base installations lack some

    trained = untrained(config, graph, samples.few)
    trained.save(folder.model)
    if config.export.enabled:
        found = rehearse_export(trained, samples.few, folder.firmware, own_prefix(config))
        accuracies = dict.fromkeys(("same_people", "unseen_people"), 0.0)
        text = json.dumps({"float": accuracies, "int8": accuracies, **found, "seconds": 0.0})
        (folder.path / EXPORT_JSON).write_text(text, encoding="utf-8")


def check_room(folder: Path, config: RunConfig, graph: Graph, samples: Summary) -> None:
    """See that a folder can be made at ``folder``, and that what a run writes has room there.

    Nothing that is made stays.

    Raises:
        FedTinyError: it cannot; or the disk is too full, and by how much.
    """
    there = folder.absolute()
    while not there.exists() and there != there.parent:
        there = there.parent
    try:
        probe = Path(tempfile.mkdtemp(prefix=".fedtiny-", dir=there))
        with suppress(OSError):
            probe.rmdir()
        free = shutil.disk_usage(there).free
    except OSError as error:
        raise FedTinyError(
            f"{folder} cannot be written: {there}: {error.strerror}; choose another --out"
        ) from error
    needed = room_bytes(config, graph, samples)
    if free < needed:
        raise FedTinyError(
            f"the run writes about {format_bytes(needed)}, and {there} has {format_bytes(free)} "
            "left: make room, or choose another --out"
        )


def room_bytes(config: RunConfig, graph: Graph, samples: Summary) -> int:
    """What a run leaves on disk at most, roughly: shares, checkpoints, test vectors, plots."""
    tested = sum(samples.test) + samples.unseen
    dealt = sum(samples.train) + sum(samples.development) + tested + samples.public
    vectors = tested if config.export.enabled else 0
    runs = 2 if config.dense_reference else 1
    values = prod(samples.input_shape)
    counts = (dealt + 2 * vectors) * values * _SAMPLE_BYTES
    return counts + runs * _STATES * _STATE_BYTES * parameter_count(graph) + _FIXED_BYTES
