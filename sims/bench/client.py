"""What our client adds to a bare ``flwr-clientapp`` process: memory and seconds, side by side.

``python -m sims.bench.client [--repeats 5] [--json]``. Flower starts a process for every message,
so each figure is of fresh processes, the kinds taking turns:

* ``bare``: what ``flwr-clientapp`` imports, nothing more;
* ``load``: the client app loaded;
* ``sparse_describe``, ``sparse_train``: one message answered with the sparse engine;
* ``torch_describe``, ``torch_train``: the same with masked-dense PyTorch;
* ``forked_describe``, ``forked_train``: the same with the sparse engine in a fork of a process that
  has everything imported, which is how our nodes do it (:mod:`clients.executor`).
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import typer

from fedtiny.command_line import CommandLine
from fedtiny.config import RunConfig
from fedtiny.config import load as load_config
from fedtiny.data.dataset import Dataset
from fedtiny.data.simulated import deal, deal_into
from fedtiny.data.statistics import InputStatistics
from fedtiny.devices.budget import largest_request, nominal_masks
from fedtiny.errors import FedTinyError
from fedtiny.models.graph import Graph
from fedtiny.models.initial import initial_state
from fedtiny.models.sparse_model import from_state
from fedtiny.seeding import rng
from fedtiny.settings import MOST
from fedtiny.wire.packet import Packet
from fedtiny.wire.train import TrainTask
from sims.flower_run import APP, SWITCHES

_CONFIG = "sims/configs/demo.toml"
_PARTITION = 1  # a Raspberry Pi Zero 2 W in the demo's fleet

_WIDTHS = (10, 10, 8, 8, 8, 8)

Figures = dict[str, float]

cli = CommandLine()


def write_message(path: Path, kind: str, engine: str) -> Path:
    """Store a message for the demo's partition 1 as :mod:`sims.bench.client_process` reads it.

    Args:
        path: the ``.npz`` to write; the device's share goes into the same folder.
        kind: ``"describe"``, or ``"train"``: a whole round that also asks for growth gradients.
        engine: ``training.engine`` of the run.
    """
    overrides = [f"training.engine={engine}"]
    config = load_config(APP / _CONFIG, overrides)
    deal_into(path.parent, config.data, config.seed)
    train = deal(config.data, config.seed).clients[_PARTITION].train
    graph = config.model.build(train.input_shape, len(train.labels), config.seed)
    packet = _train_packet(config, graph, train) if kind == "train" else Packet()
    facts = {
        "type": kind if kind == "train" else f"query.{kind}",
        "scalars": dict(packet.scalars),
        "graph": graph.to_json(),
        "node_config": {"partition-id": _PARTITION, "num-partitions": config.data.partitions},
        "run_config": {
            "config": _CONFIG,
            "overrides": json.dumps(overrides),
            "data": str(path.parent),
        },
    }
    arrays: dict[str, Any] = dict(packet.arrays)
    np.savez(path, facts=np.array(json.dumps(facts)), **arrays)
    return path


def _train_packet(config: RunConfig, graph: Graph, train: Dataset) -> Packet:
    state = initial_state(graph, rng(config.seed, "weights"))
    model = from_state(graph, state, nominal_masks(config, graph))
    normalization = InputStatistics.of(train).normalization()
    quotas = largest_request(config, graph)
    return TrainTask(1, model, normalization, quotas, meter=False).packet(graph)


def run_process(*arguments: str) -> Figures:
    """Run :mod:`sims.bench.client_process` to its end.

    Returns:
        ``rss_mb`` at its peak; ``wall_s`` from its start to its end; ``cpu_s`` of it, which other
        work on the machine disturbs less. Of a fork: what the fork alone took.
    """
    started, spent = time.perf_counter(), _cpu_of_children()
    done = subprocess.run(
        [sys.executable, "-m", "sims.bench.client_process", *arguments],
        cwd=APP,
        env={**os.environ, **SWITCHES},
        check=False,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    if done.returncode:
        raise FedTinyError(f"client process {' '.join(arguments)}: {done.stderr.strip()}")
    whole = {"wall_s": time.perf_counter() - started, "cpu_s": _cpu_of_children() - spent}
    found = {**whole, **json.loads(done.stdout)}
    return {"rss_mb": found["peak_rss_bytes"] / 1e6, **{name: found[name] for name in whole}}


def _cpu_of_children() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def measure(repeats: int) -> dict[str, Figures]:
    """Medians by kind of process."""
    with tempfile.TemporaryDirectory() as folder:
        kinds = {"bare": ["bare"], "load": ["load"]}
        for engine in ("sparse", "torch"):
            for kind in ("describe", "train"):
                path = write_message(Path(folder) / f"{engine}_{kind}.npz", kind, engine)
                kinds[f"{engine}_{kind}"] = ["answer", str(path)]
                if engine == "sparse":
                    kinds[f"forked_{kind}"] = ["forked", str(path)]
        runs: dict[str, list[Figures]] = {name: [] for name in kinds}
        for _ in range(repeats):
            for name, arguments in kinds.items():
                runs[name].append(run_process(*arguments))
    return {
        name: {key: round(median(one[key] for one in found), 3) for key in found[0]}
        for name, found in runs.items()
    }


def table(figures: dict[str, Figures]) -> str:
    """One line a kind, with what it adds to the bare process."""
    bare = figures["bare"]
    titles = ("peak RSS", "added", "wall", "added", "CPU", "added")
    lines = [
        f"{'process':15} " + " ".join(f"{t:>{w}}" for t, w in zip(titles, _WIDTHS, strict=True))
    ]
    for name, one in figures.items():
        lines.append(
            f"{name:15} {one['rss_mb']:7.1f} MB {one['rss_mb'] - bare['rss_mb']:+7.1f} MB "
            f"{one['wall_s']:6.2f} s {one['wall_s'] - bare['wall_s']:+6.2f} s "
            f"{one['cpu_s']:6.2f} s {one['cpu_s'] - bare['cpu_s']:+6.2f} s"
        )
    return "\n".join(lines)


@cli.command()
def client(
    repeats: Annotated[int, typer.Option(help="Processes of each kind.", min=1, max=MOST)] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure client processes of the demo's smart-watch model."""
    figures = measure(repeats)
    print(json.dumps({"repeats": repeats, "processes": figures}) if as_json else table(figures))


if __name__ == "__main__":
    cli()
