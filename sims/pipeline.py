"""The whole path: federation, dense reference, int8, C, check, report."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from fedtiny import toolchain
from fedtiny.adapt.planning import unable_to_adapt
from fedtiny.clock.devices import check_timed
from fedtiny.config import RunConfig
from fedtiny.config.adapt import AdaptUse
from fedtiny.config.clock import ClockConfig
from fedtiny.data.simulated import Summary, summarize
from fedtiny.devices.budget import engine_of
from fedtiny.devices.tier_choice import NoPartError, choose_tier
from fedtiny.errors import FedTinyError
from fedtiny.escaping.terminal import Screen, terminal_text
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.models.graph import Graph
from fedtiny.runs import identity
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.identity import Part
from fedtiny.tiers.config import TiersConfig
from fedtiny.training.choice import notice
from sims.backends import Backend, run_federation
from sims.progress import ProgressObserver
from sims.rehearsal import check_room, rehearse
from strategies.observer import Observer
from strategies.tracking import Tool, tracker

Result = TypeVar("Result")


@dataclass(frozen=True)
class Pipeline:
    """One run with everything its config asks for.

    Attributes:
        config: of the run.
        folder: of the run.
        backend: where clients run.
        console: for progress; errors and results are the caller's.
        workers: Ray actors, 0 for one per core.
        accept: what may differ from what a resumed run was begun with.
        track: tools that get the numbers, too.
        ray_address: of a running cluster, see :func:`sims.backends.run_federation`.
    """

    config: RunConfig
    folder: RunFolder
    backend: Backend
    console: Screen
    workers: int = 0
    accept: Collection[Part] = ()
    track: Collection[Tool] = ()
    ray_address: str = ""

    def run(self, resume: bool = False) -> dict[str, Any]:
        """All steps; with ``resume``, those that are not done yet. Returns the report.

        Whoever calls holds the folder's lock. The model is on disk before any other step; if one
        fails, what is kept and how to go on is said before the error.
        """
        if warning := notice(self.config.training, self.config.method.density):
            self.console.say(terminal_text("note: ", "yellow") + terminal_text(warning))
        self._federate(self.config, self.folder, resume)
        try:
            return self._after(resume)
        except Exception:
            self.console.say(_kept(self.folder))
            raise

    def _after(self, resume: bool) -> dict[str, Any]:
        """Everything that only looks at the trained model."""
        from fedtiny.doctor.run_modes import write_modes  # noqa: PLC0415 - only runs that get there need it
        from fedtiny.report import write  # noqa: PLC0415 - only runs that get there need it

        if self.config.dense_reference:
            dense = self.folder.dense_reference
            dense.path.mkdir(exist_ok=True)
            with dense.held("the dense reference"):
                self._federate(dense_config(self.config), dense, resume, self.folder.data)
        if self.config.export.enabled:
            from fedtiny.export.run import export_run  # noqa: PLC0415 - only runs that get there need it

            check = self.config.export.check
            self._step(
                "int8, C and check", lambda: export_run(self.folder, check, accept=self.accept)
            )
        self._step("what boards may do", lambda: write_modes(self.folder))
        return self._step("report and plots", lambda: write(self.folder, self.accept))

    def _federate(
        self, config: RunConfig, folder: RunFolder, resume: bool, shares: Path | None = None
    ) -> None:
        if resume and folder.model.is_file():
            identity.seal(folder)
            identity.verify(folder, self.accept)
            return
        observers: list[Observer] = [
            ProgressObserver(self.console, folder.path.name),
            *(tracker(tool, folder, self.console.say) for tool in self.track),
        ]
        run_federation(
            config,
            folder,
            self.backend,
            resume,
            observers,
            self.workers,
            shares,
            self.accept,
            self.ray_address,
        )

    def _step(self, title: str, step: Callable[[], Result]) -> Result:
        with self.console.status(terminal_text(title)):
            return step()


def _kept(folder: RunFolder) -> str:
    path = shlex.quote(str(folder.path))
    return (
        f"the trained model is kept: {folder.model}. Once the cause below is gone, go on with: "
        f"python -m sims.launch --resume {path}; or one step at a time with: fedtiny "
        f"export {path}, fedtiny report {path}"
    )


def dense_config(config: RunConfig) -> RunConfig:
    """The same federation without pruning, budgets, parts, clock, adapting, or export.

    On the engine that trains the run, which by itself would not be chosen for a dense model.
    """
    engine = "torch" if engine_of(config).holds_zeros else "sparse"
    update = {
        "dense_reference": False,
        "training": config.training.model_copy(update={"engine": engine}),
        "pruning": config.pruning.model_copy(update={"method": "dense"}),
        "devices": config.devices.model_copy(
            update={"fleet": (), "groups": (), "budget_bytes": {}}
        ),
        "tiers": TiersConfig(),
        "clock": ClockConfig(),
        "federation": config.federation.model_copy(update={"adapt": AdaptUse.OFF}),
        "export": config.export.model_copy(update={"enabled": False}),
    }
    return config.model_copy(update=update)


def _of(partitions: list[int], reason: str) -> str:
    """One line for all that are refused for one reason.

    >>> _of([2], "too small"), _of([0, 1], "unknown board")
    ('partition 2: too small', 'partitions 0, 1: unknown board')
    """
    plural = "s" if len(partitions) > 1 else ""
    return f"partition{plural} {', '.join(map(str, partitions))}: {reason}"


def preflight(
    config: RunConfig, out: Path | None = None, rehearsed: bool = False
) -> tuple[Graph, list[LedgerEntry]]:
    """Everything that can be known to fail is found before work starts.

    Args:
        config: of the run.
        out: folder that will be written to.
        rehearsed: also export and report once, as :func:`sims.rehearsal.rehearse`; seconds.

    Returns:
        The model and each device's memory plan.

    Raises:
        FedTinyError: data missing or malformed, unknown model, no compiler, no room on the disk,
            devices that cannot train the model (each named with its reason), or a step after
            training that cannot succeed.
    """
    samples = summarize(config.data, config.seed)
    graph = config.graph(samples.input_shape, samples.classes)
    engine_of(config)
    check_timed(config)
    if config.export.enabled:
        toolchain.require("make")
        toolchain.require("gcc")
    plans = _plans(config, graph, samples)
    _check_adapting(config, graph)
    if out is not None:
        check_room(out, config, graph, samples)
    if rehearsed:
        rehearse(config, graph, samples, plans)
    return graph, plans


def _check_adapting(config: RunConfig, graph: Graph) -> None:
    refused: dict[str, list[int]] = {}
    for partition, reason in unable_to_adapt(config, graph).items():
        refused.setdefault(reason, []).append(partition)
    if sum(map(len, refused.values())) > config.federation.tolerated(config.data.partitions):
        raise FedTinyError("\n".join(_of(who, reason) for reason, who in refused.items()))


def _plans(config: RunConfig, graph: Graph, samples: Summary) -> list[LedgerEntry]:
    """Of each device that trains and has a budget: the step of its part of the model."""
    plans: list[LedgerEntry] = []
    refused: dict[str, list[int]] = {}
    unable: dict[str, list[int]] = {}
    for partition, count in enumerate(samples.train):
        board = config.devices.board(partition)
        try:
            plan = choose_tier(config, graph, partition, board, count).plan
            plans += [plan] if plan else []
        except NoPartError as error:  # with parts, who can train none of them takes no part
            unable.setdefault(str(error), []).append(partition)
        except FedTinyError as error:
            refused.setdefault(str(error), []).append(partition)
    nobody = sum(map(len, unable.values())) == len(samples.train)
    if nobody or sum(map(len, refused.values())) > config.federation.tolerated(len(samples.train)):
        reasons = {**unable, **refused} if nobody else refused
        raise FedTinyError("\n".join(_of(who, reason) for reason, who in reasons.items()))
    return plans
