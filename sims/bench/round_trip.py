"""What an exchange takes on real nodes over TLS, beside Flower's own loop on the same nodes.

``python -m sims.bench.round_trip [--exchanges 12] [--repeats 3] [--nodes 2] [--json]``: a
deployment is made in a temporary folder. Its nodes run an app that does nothing
(:mod:`sims.bench.floor`) and the deployed smart-watch job with one local epoch, in turn: both meet
the same load of the machine.

An exchange lasts from the end of the one before to its own, so what the server does in between
belongs to it. Nodes look for messages every 3 s, and Flower's loop for replies: single exchanges of
that loop take 3 or 6 s, and which of the two, and so the median, is chance. Their mean is not: what
one exchange waits longer the next one waits less.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from statistics import fmean, median, quantiles
from typing import Annotated, Any

import tomli_w
import typer

from fedtiny.command_line import CommandLine
from fedtiny.errors import FedTinyError
from fedtiny.node.address import free_port
from fedtiny.runs.events import Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.settings import MOST
from fedtiny.wire.phase import Phase
from sims.bench.meter import Meter, Metered
from sims.deploy import flower, job
from sims.deploy.home import Home
from sims.flower_run import APP

_FLOOR = Path(__file__).with_name("floor")

cli = CommandLine()


def measure(exchanges: int, repeats: int, nodes: int) -> dict[str, list[Metered]]:
    """Every run of ``floor`` and of ``fedtiny``."""
    found: dict[str, list[Metered]] = {"floor": [], "fedtiny": []}
    with tempfile.TemporaryDirectory(prefix="fedtiny-") as folder:
        home = Home(Path(folder) / "fed")
        sizes = (f"federation.rounds={exchanges}", f"federation.evaluate_every={exchanges}")
        once = ("pruning.interval=1", "pruning.stop=1", "pruning.selection=none")
        short = ("pretraining.epochs=0", "training.epochs=1")
        rest = ("federation.max_failures=0", *short, *once)
        sets = [word for one in (*sizes, *rest) for word in ("--set", one)]
        where = ("--host", "127.0.0.1", "--port", str(free_port()), "--nodes", str(nodes))
        _deploy("init", home, *where, *sets)
        try:
            _deploy("up", home, "--local", str(nodes), "--no-job")
            for _ in range(repeats):
                found["floor"].append(_floor(home, exchanges, nodes))
                found["fedtiny"].append(_ours(home))
        finally:
            _deploy("down", home)
    return found


def _ours(home: Home) -> Metered:
    def done() -> int:
        try:
            events = RunFolder(home.results).events(Exchanged)
        except FedTinyError:  # there are none yet
            return 0
        return sum(one.phase is Phase.TRAIN for one in events)

    with Meter(home, done) as meter:
        _deploy("run", home)
    shutil.rmtree(home.results)
    return meter.found()


def _floor(home: Home, exchanges: int, nodes: int) -> Metered:
    out = home.path.resolve() / "floor.txt"
    out.write_text("", encoding="utf-8")
    settings = home.path.resolve() / "floor.toml"
    tree = {"exchanges": exchanges, "nodes": nodes, "out": str(out)}
    settings.write_text(tomli_w.dumps(tree), encoding="utf-8")
    words = ["run", str(_FLOOR), flower.LINK, "--stream", "-c", str(settings)]

    def done() -> int:
        return len(out.read_text(encoding="utf-8").splitlines())

    with Meter(home, done) as meter:
        flower.run(home, words, timeout_s=60.0 * exchanges)
    if done() < exchanges:
        raise FedTinyError(f"the app that does nothing ended as {job.runs(home)[0]['status']}")
    return meter.found()


def _deploy(command: str, home: Home, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sims.deploy", command, str(home.path), *words],
        cwd=APP,
        env={**os.environ, "PYTHONPATH": str(APP)},
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode:
        raise FedTinyError(f"sims.deploy {command}: {done.stderr.strip()}")


def _facts(runs: list[Metered], nodes: int) -> dict[str, Any]:
    seconds = [one for run in runs for one in run.seconds]
    low, _, high = quantiles(seconds, n=4)
    return {
        "exchanges": len(seconds),
        "mean_s": fmean(seconds),
        "means_s": [fmean(run.seconds) for run in runs],
        "median_s": median(seconds),
        "quartiles_s": [low, high],
        "server_cpu_s": sum(run.server_cpu_s for run in runs) / len(seconds),
        "node_cpu_s": sum(run.nodes_cpu_s for run in runs) / len(seconds) / nodes,
        "runs": [asdict(run) for run in runs],
    }


@cli.command()
def round_trip(
    exchanges: Annotated[int, typer.Option(help="Of each run.", min=4, max=MOST)] = 12,
    repeats: Annotated[int, typer.Option(help="Runs of each app.", min=1, max=MOST)] = 3,
    nodes: Annotated[int, typer.Option(help="On this machine.", min=1, max=99)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how long an exchange takes, and what of the processors."""
    measured = measure(exchanges, repeats, nodes)
    found = {name: _facts(runs, nodes) for name, runs in measured.items()}
    ratio = found["fedtiny"]["mean_s"] / found["floor"]["mean_s"]
    if as_json:
        print(json.dumps({"nodes": nodes, **found, "ratio": ratio}))
        return
    for name, one in found.items():
        low, high = one["quartiles_s"]
        each = ", ".join(f"{mean:.2f}" for mean in one["means_s"])
        print(
            f"{name:8} {one['mean_s']:5.2f} s on average (runs: {each}); median "
            f"{one['median_s']:.2f}, quartiles {low:.2f} and {high:.2f}, of {one['exchanges']}; "
            f"CPU: server {one['server_cpu_s']:.2f} s, a node {one['node_cpu_s']:.2f} s"
        )
    print(f"ratio    {ratio:5.2f}, of the averages")


if __name__ == "__main__":
    cli()
