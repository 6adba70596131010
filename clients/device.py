"""One device: its share of the data, its board, its memory plan."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

from flwr.app import ConfigRecord, Context

from clients.job import Job, job_of
from fedtiny.config import RunConfig
from fedtiny.data import shares
from fedtiny.data.client import ClientData, load_client
from fedtiny.data.file_identity import FileIdentity, identity_of
from fedtiny.data.kept import Keeper
from fedtiny.data.spool import is_recorded
from fedtiny.devices.budget import engine_of, memory_plan
from fedtiny.errors import FedTinyError
from fedtiny.memory.ledger import LedgerEntry
from fedtiny.memory.step import StepPlan
from fedtiny.models.graph import Graph
from fedtiny.sparse.tensor import Mask
from fedtiny.training.engine import UNBOUND, TrainingEngine
from fedtiny.wire.join import JoinTask
from fedtiny.wire.packet import Packet

_MODEL = "model"  # record of a node's state


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
    """

    config: RunConfig
    partition: int
    share: Path
    board: str = ""
    model: str = ""
    keeper: Keeper | None = None

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
        self.__dict__.pop("data", None)
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
        graph, train = Graph.from_json(self.model), self.data.train
        if train.input_shape != graph.input_shape or len(train.labels) != graph.classes:
            where = self.keeper.recorded if self.keeper else self.share
            raise FedTinyError(
                f"{where}: samples {train.input_shape} of {len(train.labels)} classes, but "
                f"{graph.name} takes {graph.input_shape} of {graph.classes}"
            )
        return graph

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
            BudgetError: even one sample at a time does not fit, or the board cannot train.
        """
        return memory_plan(self.config, self.graph, self.partition, self.board, masks, quotas)

    @cached_property
    def step(self) -> StepPlan:
        """How trainers are made where nothing is trained."""
        plan = self.plan()
        return plan.step if plan else UNBOUND


@lru_cache(maxsize=32)
def _device(
    job: Job, partition: int, share: Path, board: str, model: str, _seen: FileIdentity | None
) -> Device:
    """Made once for the same job, and once more when the share is another file."""
    config = job.config
    return Device(config, partition, share, board or config.devices.board(partition), model)


@lru_cache(maxsize=2)
def _recording_device(job: Job, partition: int, recorded: Path, board: str, model: str) -> Device:
    """A device that brings its own recordings."""
    config = job.config
    keeper = Keeper(recorded, _kept(), job.name, config.data, config.seed, partition)
    board = board or config.devices.board(partition)
    return Device(config, partition, keeper.share, board, model, keeper)


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
    job, partition = job_of(context.run_config), _partition(context)
    board = str(context.node_config.get("device", ""))
    model = str(context.state[_MODEL]["graph"]) if _MODEL in context.state else ""
    own = str(context.node_config.get("data", ""))
    if own and is_recorded(recorded := Path(own).expanduser()):
        return _recording_device(job, partition, recorded, board, model)
    share = _share(context, partition)
    return _device(job, partition, share, board, model, identity_of(share))


def receive_model(context: Context, packet: Packet) -> None:
    """Keep the model that the server's first message brings, for all later ones.

    Flower may start a process for every message; what survives is the context's state.

    Raises:
        FedTinyError: it is no model.
    """
    if "graph" in packet.scalars:
        graph = JoinTask.read(packet).graph
        context.state[_MODEL] = ConfigRecord({"graph": graph.to_json()})


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


def _kept() -> Path:
    """Where a node may write: Flower's own folder."""
    return Path(os.environ.get("FLWR_HOME") or "~/.flwr").expanduser() / "fedtiny"
