"""One device: its share of the data, its board, its memory plan."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path

from flwr.app import Context

from clients.job import Job, job_of
from clients.state import model_of
from fedtiny.config import RunConfig
from fedtiny.data import shares
from fedtiny.data.client import ClientData, load_client
from fedtiny.data.file_identity import FileIdentity, identity_of
from fedtiny.data.kept import Keeper
from fedtiny.data.spool import is_recorded
from fedtiny.devices.budget import check_free, engine_of, memory_plan, unplanned_bytes
from fedtiny.devices.planner import BudgetError
from fedtiny.devices.tier_choice import Holding, choose_tier
from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import LedgerEntry, MemoryPrediction
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.node.limits import free_memory_bytes
from fedtiny.node.measuring import hardware, measure, recognised_board
from fedtiny.sparse.tensor import Mask
from fedtiny.tiers.block import block_of
from fedtiny.training.engine import UNBOUND, TrainingEngine
from fedtiny.wire.measured import Measured


@dataclass(frozen=True)
class Device:
    """Everything a handler needs to know about where it runs.

    Attributes:
        config: of the run.
        partition: index of the data this device holds.
        share: the file with its samples; no other is opened.
        board: name in the device catalogue, given by the node (deployment) or by the config's
            fleet (simulation); empty for none.
        model: the layer graph as JSON, as the server sent it; empty before it did.
        keeper: makes the share of what the device recorded itself; None where it was dealt.
        real: a machine of its own, whose memory is what there is; not one of many simulated ones.
        width: share of the model's channels that it is concerned with, see :meth:`at`.
    """

    config: RunConfig
    partition: int
    share: Path
    board: str = ""
    model: str = ""
    keeper: Keeper | None = None
    real: bool = False
    width: float = 1.0

    def at(self, width: float) -> Device:
        """This device with a part of the model for its model; itself for all of it."""
        if width == self.width:
            return self
        if width not in self._parts:
            part = replace(self, width=width)
            part.__dict__["data"] = self.data  # read once
            self._parts[width] = part
        return self._parts[width]

    @cached_property
    def _parts(self) -> dict[float, Device]:
        return {}

    def begin(self) -> int:
        """A run begins: what this device recorded until now is what it trains on to the end.

        Returns:
            Files that were set aside.

        Raises:
            DataError: see :meth:`fedtiny.data.kept.Keeper.make`.
        """
        if self.keeper is None:
            return 0
        aside = self.keeper.make()
        for made in ("data", "_parts"):
            self.__dict__.pop(made, None)
        return aside

    @cached_property
    def data(self) -> ClientData:
        """This device's own samples."""
        if self.keeper is not None and not self.share.exists():
            self.keeper.make()  # it was not there when the run began
        return load_client(self.share, self.config.data, self.config.seed, self.partition)

    @cached_property
    def graph(self) -> Graph:
        """The model's layer graph, from the server's first message: no builder is needed here.

        Raises:
            FedTinyError: there was none, or the device's samples do not fit the model.
        """
        if not self.model:
            raise FedTinyError(
                "this node has no model yet: it missed the server's first message, 'query.join'; "
                "restart the run"
            )
        graph, train = _read_graph(self.model), self.data.train
        if train.input_shape != graph.input_shape or len(train.labels) != graph.classes:
            where = self.keeper.recorded if self.keeper else self.share
            raise FedTinyError(
                f"{where}: samples {train.input_shape} of {len(train.labels)} classes, but "
                f"{graph.name} takes {graph.input_shape} of {graph.classes}"
            )
        return block_of(graph, self.width).graph

    @cached_property
    def engine(self) -> TrainingEngine:
        """How this device trains."""
        return engine_of(self.config)

    def plan(
        self, masks: Mapping[str, Mask] | None = None, quotas: Mapping[str, int] | None = None
    ) -> LedgerEntry | None:
        """A training step within the board's budget and its memory; ``None`` without a board.

        Args:
            masks, quotas: of a task; without them the plan is for what the config announces.

        Raises:
            BudgetError: even one sample at a time does not fit, or the board cannot train, or a
                real device has not that much memory free now.
        """
        plan = memory_plan(self.config, self.graph, self.partition, self.board, masks, quotas)
        if self.real:
            planned = MemoryPrediction(plan.lines) if plan else None
            self.check_free(planned or unplanned_bytes(self.config, self.graph, masks, quotas))
        return plan

    def check_free(self, needed: MemoryPrediction) -> None:
        """See that a real device has the memory of a step now; raises BudgetError if not."""
        free = free_memory_bytes() if self.real else None
        if free is not None:
            check_free(needed, free, self.board or hardware())

    def measure(self, set_aside: int) -> Measured | None:
        """What a real device can say of itself; ``None`` for a simulated one.

        Args:
            set_aside: files of its recordings that were not finished.
        """
        if not self.real:
            return None
        if not self.board:
            logging.getLogger("fedtiny").warning(
                "this device is none of the catalogue's boards (%s): it trains without a budget of "
                "its own, within the memory that is free. Name a board that is like it with "
                "--node-config 'device=\"pi_4\"'; `fedtiny doctor` lists them",
                hardware(),
            )
        return measure(kept_folder(), set_aside)

    def hold(self) -> Holding:
        """The part of the model that this device trains; raises RefusedError if there is none."""
        samples = len(self.data.train)
        return choose_tier(self.config, self.graph, self.partition, self.board, samples)

    @cached_property
    def step(self) -> StepPlan:
        """How trainers are made where nothing is trained.

        Where devices train parts of the model, one may be given the whole to look at, which it
        could not train: it then looks at as few samples at a time as a part would allow.
        """
        try:
            plan = self.plan()
        except BudgetError:
            if not self.config.has_parts:
                raise
            return StepPlan(min(self.config.tiers.min_micro_batch, self.config.training.batch_size))
        return plan.step if plan else UNBOUND


@lru_cache(maxsize=2)
def _read_graph(text: str) -> Graph:
    """Equal text, one graph: a simulator's devices, and a device in every message."""
    return Graph.from_json(text)


@dataclass(frozen=True)
class _Node:
    """What Flower's context says of a device. Equal ones are one device."""

    job: Job
    partition: int
    board: str
    model: str
    real: bool

    def board_of(self) -> str:
        """The node's own word comes first, then the job's, then what a machine looks like."""
        named = self.board or self.job.config.devices.board(self.partition)
        return named or (recognised_board() if self.real else "")


@lru_cache(maxsize=32)
def _dealt_device(node: _Node, share: Path, _seen: FileIdentity | None) -> Device:
    """A device with what was dealt to it; made anew when its share is another file."""
    config, board = node.job.config, node.board_of()
    return Device(config, node.partition, share, board, node.model, real=node.real)


@lru_cache(maxsize=2)
def _recording_device(node: _Node, recorded: Path) -> Device:
    """A device that brings its own recordings."""
    config, board, k = node.job.config, node.board_of(), node.partition
    keeper = Keeper(recorded, kept_folder(), node.job.name, config.data, config.seed, k)
    return Device(config, k, keeper.share, board, node.model, keeper, node.real)


def device_of(context: Context) -> Device:
    """The device a Flower context stands for.

    Args:
        context: its run config names the TOML file (relative to the app's folder) and overrides;
            its node config gives ``partition-id`` and, on a real device, ``device`` and
            ``data``: its board, and the file or folder with its samples: what was dealt to it, or
            what it recorded itself (:mod:`fedtiny.data.spool`). A simulated device has a share in
            the folder that the run config names.

    Raises:
        FedTinyError: the node has no partition, or nothing says where its data lie.
    """
    own = str(context.node_config.get("data", ""))
    node = _Node(
        job_of(context.run_config),
        _partition(context),
        str(context.node_config.get("device", "")),
        model_of(context),
        real=bool(own),
    )
    if own and is_recorded(recorded := Path(own).expanduser()):
        return _recording_device(node, recorded)
    share = _share(context, node.partition)
    return _dealt_device(node, share, identity_of(share))


def _partition(context: Context) -> int:
    given = context.node_config.get("partition-id")
    if given is None:
        raise FedTinyError(
            "this node has no partition-id; start it with --node-config 'partition-id=0 …'"
        )
    if type(given) is not int or given < 0:
        raise FedTinyError(
            f"this node's partition-id is {given!a:.40}, expected a whole number from 0 on: start "
            "it with --node-config 'partition-id=0 …'"
        )
    return given


def _share(context: Context, partition: int) -> Path:
    """The node's own word on where its data lie, else the run's."""
    own = str(context.node_config.get("data", ""))
    folder = Path(own).expanduser() if own else shares.shares_folder(context.run_config)
    return folder if folder.suffix == ".npz" else shares.client_file(folder, partition)


def kept_folder() -> Path:
    """Where a node may write: Flower's own folder."""
    return Path(os.environ.get("FLWR_HOME") or "~/.flwr").expanduser() / "fedtiny"
