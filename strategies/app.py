"""The ServerApp: reads the run's config, runs its method, leaves a run folder behind."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp

from fedtiny import config as run_config
from fedtiny.config import RunConfig
from fedtiny.data.federation import load_federation
from fedtiny.errors import FedTinyError
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.trained_model import TrainedModel
from strategies.exchange import Exchange
from strategies.metrics import MetricsObserver
from strategies.observer import Observer, Observers
from strategies.registry import algorithm
from strategies.server import Server
from strategies.state import CheckpointStore

app = ServerApp()

_APP_ROOT = Path(__file__).resolve().parents[1]


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Flower's entry: the run config names a TOML file, overrides and an output folder."""
    settings = context.run_config
    path = _APP_ROOT / str(settings["config"])
    config = run_config.load(path, json.loads(str(settings["overrides"])))
    out = str(settings["out"])
    if not out:
        raise FedTinyError(
            "run config 'out' is empty: Flower runs this app from its own folder, so give an "
            "absolute path, e.g. -c 'out=\"/home/me/runs/first\"'"
        )
    run(config, grid, RunFolder(Path(out)), resume=False)


def run(
    config: RunConfig,
    grid: Grid,
    folder: RunFolder,
    resume: bool,
    observers: Sequence[Observer] = (),
) -> TrainedModel:
    """Run ``config`` on ``grid`` and write its results to ``folder``.

    Args:
        config: of the run.
        grid: connects to at least ``config.data.partitions`` nodes.
        folder: of the run; its config, metrics, checkpoints and model are written.
        resume: go on from the newest checkpoint, if there is one.
        observers: watch besides the metrics file.

    Raises:
        FedTinyError: see :class:`strategies.server.Server`.
    """
    folder.create(config)
    public = load_federation(config.data, config.seed).public
    graph = config.graph(public.input_shape, len(public.labels))
    observer = Observers([MetricsObserver(folder.metrics), *observers])
    exchange = Exchange(
        grid,
        config.federation.timeout_s,
        config.federation.max_failures,
        observer.on_phase,
        observer.on_event,
    )
    store = CheckpointStore(folder.checkpoints, config, graph)
    trained = Server(config, graph, algorithm(config), exchange, store, observer).run(resume)
    trained.save(folder.model)
    return trained
