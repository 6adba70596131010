"""The whole path: federation, dense reference, int8, C, check, report."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from fedtiny.boards import toolchain
from fedtiny.config import RunConfig
from fedtiny.data.simulated import summarize
from fedtiny.devices.budget import engine_of, memory_plan
from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.models.graph import Graph
from fedtiny.runs.folder import RunFolder
from fedtiny.training.choice import notice
from sims.backends import Backend, run_federation
from sims.progress import ProgressObserver


@dataclass(frozen=True)
class Pipeline:
    """One run with everything its config asks for.

    Attributes:
        config: of the run.
        folder: of the run.
        backend: where clients run.
        console: for progress; errors and results are the caller's.
        workers: Ray actors, 0 for one per core.
    """

    config: RunConfig
    folder: RunFolder
    backend: Backend
    console: Console
    workers: int = 0

    def run(self, resume: bool = False) -> dict[str, Any]:
        """All steps; with ``resume``, those that are not done yet. Returns the report."""
        from fedtiny.report import write  # noqa: PLC0415 - only runs that get there need it

        if warning := notice(self.config.training, self.config.method.density):
            self.console.print(f"[yellow]note:[/yellow] {warning}", soft_wrap=True)
        self._federate(self.config, self.folder, resume)
        if self.config.dense_reference:
            self._federate(
                dense_config(self.config), self.folder.dense_reference, resume, self.folder.data
            )
        if self.config.export.enabled:
            from fedtiny.export.run import export_run  # noqa: PLC0415 - only runs that get there need it

            self._step(
                "int8, C and check", lambda: export_run(self.folder, self.config.export.check)
            )
        return self._step("report and plots", lambda: write(self.folder))

    def _federate(
        self, config: RunConfig, folder: RunFolder, resume: bool, shares: Path | None = None
    ) -> None:
        if resume and folder.model.is_file():
            return
        observer = ProgressObserver(self.console, config.name)
        run_federation(config, folder, self.backend, resume, [observer], self.workers, shares)

    def _step(self, title: str, step: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        with self.console.status(title):
            return step()


def dense_config(config: RunConfig) -> RunConfig:
    """The same federation without pruning, budgets, or export."""
    update = {
        "name": f"{config.name}/dense_reference",
        "dense_reference": False,
        "pruning": config.pruning.model_copy(update={"method": "dense"}),
        "devices": config.devices.model_copy(update={"fleet": (), "budget_bytes": {}}),
        "export": config.export.model_copy(update={"enabled": False}),
    }
    return config.model_copy(update=update)


def preflight(config: RunConfig) -> tuple[Graph, list[LedgerEntry]]:
    """Everything that can be known to fail is found before work starts.

    Returns:
        The model and each device's memory plan.

    Raises:
        FedTinyError: data missing or malformed, unknown model, no compiler, or devices that
            cannot train the model (each named with its reason).
    """
    samples = summarize(config.data, config.seed)
    graph = config.graph(samples.input_shape, samples.classes)
    engine_of(config)
    if config.export.enabled:
        toolchain.require("make")
        toolchain.require("gcc")
    plans, refused = [], []
    for partition in range(config.data.partitions):
        try:
            plan = memory_plan(config, graph, partition, config.devices.board(partition))
            plans += [plan] if plan else []
        except FedTinyError as error:
            refused.append(f"partition {partition}: {error}")
    if len(refused) > config.federation.tolerated(config.data.partitions):
        raise FedTinyError("\n".join(refused))
    return graph, plans


def fresh_folder(path: Path) -> tuple[RunFolder, Path | None]:
    """A run folder at ``path``; what was there is moved aside, never overwritten.

    Returns:
        The folder, and where the earlier one went.
    """
    if not path.exists():
        return RunFolder(path), None
    n = 1
    while (aside := path.with_name(f"{path.name}.{n}")).exists():
        n += 1
    path.rename(aside)
    return RunFolder(path), aside
