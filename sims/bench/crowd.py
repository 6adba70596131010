"""A run with very many clients: how long until round 1, and what the driver holds in each round.

``python -m sims.bench.crowd [--clients 10000] [--rounds 100] [--backend inline] [--json]``:
sims/configs/cross_device.toml, from checks to the trained model, as ``sims.launch`` does it.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from typing_extensions import override

from fedtiny.command_line import CommandLine
from fedtiny.config import absolute, load
from fedtiny.runs.events import Event, RoundFinished
from fedtiny.runs.folder import RunFolder
from fedtiny.settings import MOST
from fedtiny.wire.phase import Phase
from sims.backends import Backend, run_federation
from sims.bench.contender import rss_bytes
from sims.flower_run import APP
from sims.pipeline import preflight
from strategies.observer import Observer

_CONFIG = APP / "sims/configs/cross_device.toml"
_EARLY = 10

cli = CommandLine()


class Watch(Observer):
    """Notes time and memory.

    Attributes:
        first_round: when round 1 began, by :func:`time.monotonic`.
        rss: bytes resident in this process after every round.
    """

    def __init__(self) -> None:
        self.first_round = 0.0
        self.rss: list[int] = []

    @override
    def on_phase(self, phase: Phase, round: int) -> None:
        if round == 1 and not self.first_round:
            self.first_round = time.monotonic()

    @override
    def on_event(self, event: Event) -> None:
        if isinstance(event, RoundFinished):
            self.rss.append(rss_bytes())


def measure(clients: int, rounds: int, backend: Backend) -> dict[str, Any]:
    """One run, its folder thrown away."""
    sizes = (f"data.partitions={clients}", f"federation.rounds={rounds}")
    config = absolute(load(_CONFIG, sizes))
    watch, started = Watch(), time.monotonic()
    with tempfile.TemporaryDirectory() as path:
        folder = RunFolder(Path(path) / "run")
        preflight(config, folder.path.parent, rehearsed=True)
        run_federation(config, folder, backend, observers=[watch])
        seconds = [one.seconds for one in folder.events(RoundFinished)]
        events = folder.metrics.stat().st_size
    early = watch.rss[min(_EARLY, rounds) - 1]
    return {
        "backend": backend,
        "clients": clients,
        "rounds": rounds,
        "startup_s": round(watch.first_round - started, 1),
        "rounds_s": round(sum(seconds), 1),
        "total_s": round(time.monotonic() - started, 1),
        "rss_bytes_early": early,
        "rss_bytes_late": watch.rss[-1],
        "rss_growth": round(watch.rss[-1] / early - 1, 4),
        "metrics_bytes": events,
    }


@cli.command()
def crowd(
    clients: Annotated[int, typer.Option(help="Partitions.", min=50, max=MOST)] = 10_000,
    rounds: Annotated[int, typer.Option(help="Of 50 clients each.", min=1, max=MOST)] = 100,
    backend: Annotated[Backend, typer.Option(help="Where clients run.")] = Backend.INLINE,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure a federation of very many clients."""
    found = measure(clients, rounds, backend)
    if as_json:
        print(json.dumps(found))
        return
    mb = {key: f"{found[key] / 1e6:.0f} MB" for key in ("rss_bytes_early", "rss_bytes_late")}
    print(
        f"{clients:,} clients, {backend}: round 1 after {found['startup_s']:.0f} s, "
        f"{rounds} rounds in {found['rounds_s']:.0f} s; resident after round {min(_EARLY, rounds)} "
        f"{mb['rss_bytes_early']}, at the end {mb['rss_bytes_late']} ({found['rss_growth']:+.1%}); "
        f"metrics.jsonl {found['metrics_bytes'] / 1e6:.1f} MB"
    )


if __name__ == "__main__":
    cli()
