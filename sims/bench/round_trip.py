"""What an exchange takes on real nodes over TLS, beside Flower's own loop on the same nodes.

``python -m sims.bench.round_trip [--exchanges 5] [--repeats 3] [--nodes 2] [--json]``: a deployment
is made in a temporary folder. Its nodes run an app that does nothing (:mod:`sims.bench.floor`),
then the deployed smart-watch job with one local epoch, whose training exchanges count, then the
first again: both meet the same load of the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median, quantiles
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
from sims.deploy import flower, job
from sims.deploy.home import Home
from sims.flower_run import APP

_FLOOR = Path(__file__).with_name("floor")

cli = CommandLine()


def measure(exchanges: int, repeats: int, nodes: int) -> dict[str, list[float]]:
    """Seconds of each exchange, ``floor`` and ``fedtiny``."""
    found: dict[str, list[float]] = {"floor": [], "fedtiny": []}
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
                found["floor"] += _floor(home, exchanges, nodes)
                found["fedtiny"] += _ours(home)
        finally:
            _deploy("down", home)
    return found


def _ours(home: Home) -> list[float]:
    _deploy("run", home)
    events = RunFolder(home.results).events(Exchanged)
    shutil.rmtree(home.results)
    return [one.seconds for one in events if one.phase is Phase.TRAIN]


def _floor(home: Home, exchanges: int, nodes: int) -> list[float]:
    out = home.path.resolve() / "floor.json"
    settings = home.path.resolve() / "floor.toml"
    tree = {"exchanges": exchanges, "nodes": nodes, "out": str(out)}
    settings.write_text(tomli_w.dumps(tree), encoding="utf-8")
    words = ["run", str(_FLOOR), flower.LINK, "--stream", "-c", str(settings)]
    flower.run(home, words, timeout_s=60.0 * exchanges)
    if not out.exists():
        raise FedTinyError(f"the app that does nothing ended as {job.runs(home)[0]['status']}")
    found: list[float] = json.loads(out.read_text(encoding="utf-8"))
    return found


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


def _facts(seconds: list[float]) -> dict[str, Any]:
    low, _, high = quantiles(seconds, n=4)
    return {"exchanges": len(seconds), "median_s": median(seconds), "quartiles_s": [low, high]}


@cli.command()
def round_trip(
    exchanges: Annotated[int, typer.Option(help="Of each run.", min=2, max=MOST)] = 5,
    repeats: Annotated[int, typer.Option(help="Runs of each app.", min=1, max=MOST)] = 3,
    nodes: Annotated[int, typer.Option(help="On this machine.", min=1, max=99)] = 2,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure how long an exchange takes."""
    found = {name: _facts(seconds) for name, seconds in measure(exchanges, repeats, nodes).items()}
    ratio = found["fedtiny"]["median_s"] / found["floor"]["median_s"]
    if as_json:
        print(json.dumps({"nodes": nodes, **found, "ratio": ratio}))
        return
    for name, one in found.items():
        low, high = one["quartiles_s"]
        print(f"{name:8} {one['median_s']:5.1f} s ({low:.1f} to {high:.1f}), of {one['exchanges']}")
    print(f"ratio    {ratio:5.2f}")


if __name__ == "__main__":
    cli()
