"""The ServerApp: reads the run's config, runs its method, leaves a run folder behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from clients.job import name_of
from fedtiny import config as run_config
from fedtiny.config import RunConfig
from fedtiny.data.server import load_server
from fedtiny.data.shares import shares_folder
from fedtiny.errors import FedTinyError
from fedtiny.federation.state import CheckpointStore
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from strategies.clock.buffered import BufferedServer
from strategies.clock.synchronous import SynchronousServer
from strategies.exchange import Exchange
from strategies.metrics import MetricsObserver
from strategies.observer import Observer, Observers
from strategies.post import Post
from strategies.server import Server

app = ServerApp()

_APP_ROOT = Path(__file__).resolve().parents[1]


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Flower's entry: the run config names a TOML file, overrides, an output folder, the folder of
    shares, which is ``data`` in the output folder if it says nothing, and whether to ``resume``.
    """
    settings = context.run_config
    path = _APP_ROOT / str(settings["config"])
    config = run_config.load(path, json.loads(str(settings["overrides"])))
    out = str(settings["out"])
    if not out:
        raise FedTinyError(
            "run config 'out' is empty: Flower runs this app from its own folder, so give an "
            "absolute path, e.g. -c 'out=\"/home/me/runs/first\"'"
        )
    resume = bool(settings.get("resume", False))
    run(config, grid, RunFolder(Path(out)), resume, shares=shares_folder(settings))


def run(
    config: RunConfig,
    grid: Grid,
    folder: RunFolder,
    resume: bool,
    observers: Sequence[Observer] = (),
    shares: Path | None = None,
) -> TrainedModel:
    """Run ``config`` on ``grid`` and write its results to ``folder``.

    Args:
        config: of the run.
        grid: connects to nodes that hold the partitions.
        folder: of the run; its config, metrics, checkpoints and model are written.
        resume: go on from the newest checkpoint, if there is one.
        observers: watch besides the metrics file.
        shares: folder with the server's own samples, ``server.npz``; by default the run's.

    Raises:
        FedTinyError: see :class:`strategies.server.Server`.
    """
    server = server_of(config, grid, folder, observers, shares)
    trained = server.run(resume)
    trained.save(folder)
    return trained.model


def server_of(
    config: RunConfig,
    grid: Grid,
    folder: RunFolder,
    observers: Sequence[Observer] = (),
    shares: Path | None = None,
) -> Server:
    """The server of one run, its folder made; arguments as for :func:`run`."""
    folder.create(config)
    data = load_server(shares or folder.data, config.data, config.seed)
    graph = config.graph(data.input_shape, len(data.labels))
    observer = Observers([MetricsObserver(folder.metrics), *observers])
    exchange = Exchange(
        Post(grid, config.federation.timeout_s),
        name_of(config),
        config.data.partitions,
        config.seed,
        config.federation,
        config.method.device.sends.keys(),
        config.trust.max_offences,
        observer.on_phase,
        observer.on_event,
    )
    store = CheckpointStore(folder.checkpoints, config, graph)
    kind = {"off": Server, "synchronous": SynchronousServer, "buffered": BufferedServer}
    return kind[config.clock.mode](config, graph, data, exchange, store, observer)
