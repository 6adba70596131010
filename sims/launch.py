"""``python -m sims.launch``: run a config from data to verified firmware."""

from __future__ import annotations

import json
import shlex
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Column, Table

from fedtiny import config as run_config
from fedtiny.command_line import CommandLine
from fedtiny.config import RunConfig
from fedtiny.escaping.terminal import Screen
from fedtiny.memory.ledger import format_bytes
from fedtiny.models.cost import forward_macs, parameter_count
from fedtiny.option_types import MOST_PROCESSES
from fedtiny.runs import identity
from fedtiny.runs.claim import claim
from fedtiny.runs.folder import RunFolder
from fedtiny.runs.identity import Part
from fedtiny.settings import MOST, ConfigError
from fedtiny.user_errors import INTERRUPTED
from sims.backends import Backend
from sims.forecast import forecast
from sims.pipeline import Pipeline, preflight
from strategies.tracking import Tool
from strategies.tracking import check as check_tool

cli = CommandLine()


@cli.command()
def launch(
    config: Annotated[Path | None, typer.Option(help="TOML file of the run.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", "--run-config", help="section.key=value; repeat.")
    ] = None,
    backend: Annotated[Backend, typer.Option(help="Where clients run.")] = Backend.RAY,
    resume: Annotated[
        Path | None, typer.Option(help="Go on with this run folder, bit for bit.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of run folders.")] = Path("runs"),
    dry_run: Annotated[bool, typer.Option(help="Check everything, run nothing.")] = False,
    num_supernodes: Annotated[
        int | None,
        typer.Option(help="Number of clients (data.partitions).", min=1, max=MOST),
    ] = None,
    backend_config: Annotated[
        str | None,
        typer.Option(help='JSON, e.g. \'{"init_args": {"num_cpus": 4}}\': Ray actors to start.'),
    ] = None,
    ray_address: Annotated[
        str, typer.Option(help="A running Ray cluster to train on, as `ray start --head` says it.")
    ] = "",
    accept: Annotated[
        list[Part] | None,
        typer.Option(
            help="With --resume: go on although this is not what the run was begun with (code or "
            "data); repeat. run.json keeps what was accepted."
        ),
    ] = None,
    rehearsed: Annotated[
        bool,
        typer.Option(
            "--preflight/--no-preflight",
            help="Export and report once before training, to find what would fail after it.",
        ),
    ] = True,
    track: Annotated[
        list[Tool] | None,
        typer.Option(help="Show the run's numbers in this tool, too (pip install '.[track]')."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Simulate a federation, export its model to C, verify it, and report."""
    console = Screen(stderr=True)
    settings = _settings(config, resume, set_ or [], num_supernodes)
    workers = _workers(backend_config)
    _check_tools(track or (), backend)
    _check_address(ray_address, backend)
    if dry_run:
        _describe(settings, backend, workers, resume or out, rehearsed, as_json)
        return
    preflight(settings, resume or out, rehearsed)
    cost = forecast(settings, backend, workers)
    console.say(f"cost: {cost}")
    with _folder(settings, resume, out, console) as folder:
        pipeline = Pipeline(
            settings, folder, backend, console, workers, accept or (), track or (), ray_address
        )
        report = _run(pipeline, resume is not None)
    _conclude({**report, "forecast": cost.to_json()}, folder, as_json)


def _run(pipeline: Pipeline, resume: bool) -> dict[str, Any]:
    try:
        return pipeline.run(resume)
    except KeyboardInterrupt:
        command = f"python -m sims.launch --resume {shlex.quote(str(pipeline.folder.path))}"
        pipeline.console.say(f"stopped; go on with: {command}")
        raise typer.Exit(INTERRUPTED) from None


def _settings(
    config: Path | None, resume: Path | None, overrides: list[str], supernodes: int | None
) -> RunConfig:
    if supernodes is not None:
        overrides = [*overrides, f"data.partitions={supernodes}"]
    if resume is not None:
        if config is not None or overrides:
            raise ConfigError("--resume takes the run's own config: drop --config and --set")
        identity.make_importable(RunFolder(resume))
        return RunFolder(resume).load_config()
    if config is None:
        raise ConfigError("give --config sims/configs/….toml, or --resume runs/…")
    return run_config.absolute(run_config.load(config, overrides))


@contextmanager
def _folder(
    settings: RunConfig, resume: Path | None, out: Path, console: Screen
) -> Iterator[RunFolder]:
    """The run's folder, in which nobody else works."""
    if resume is not None:
        with RunFolder(resume).locked("a resumed run"):
            yield RunFolder(resume)
        return
    with claim(out, settings.name) as (folder, aside):
        if aside is not None:
            text = f"{folder.path} existed; the earlier run is now {aside}"
            console.say(text)
        yield folder


def _workers(backend_config: str | None) -> int:
    """Ray actors, from the JSON that users of flower-simulation know."""
    if backend_config is None:
        return 0
    try:
        workers = json.loads(backend_config)["init_args"]["num_cpus"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ConfigError(
            f'--backend-config {backend_config!r}: only {{"init_args": {{"num_cpus": n}}}} is '
            "understood; budgets and boards belong into [devices] of the config"
        ) from error
    if type(workers) is not int or not 1 <= workers <= MOST_PROCESSES:  # a bool is an int, too
        raise ConfigError(
            f"--backend-config {backend_config!r}: num_cpus is not a whole number in the range "
            f"1..{MOST_PROCESSES:,}"
        )
    return workers


def _check_tools(tools: Collection[Tool], backend: Backend) -> None:
    if tools and backend is Backend.FLOWER:
        raise ConfigError(
            "--track: Flower's own engine runs in other processes and tells nobody; use --backend "
            "ray or inline"
        )
    for tool in tools:
        check_tool(tool)


def _check_address(address: str, backend: Backend) -> None:
    if address and backend is not Backend.RAY:
        raise ConfigError(f"--ray-address {address}: --backend {backend} uses no Ray cluster")


def _describe(
    settings: RunConfig, backend: Backend, workers: int, out: Path, rehearsed: bool, as_json: bool
) -> None:
    """What a run would do: for --dry-run."""
    graph, plans = preflight(settings, out, rehearsed)
    cost = forecast(settings, backend, workers)
    facts: dict[str, Any] = {
        "config": settings.model_dump(mode="json"),
        "model": graph.name,
        "parameters": parameter_count(graph),
        "macs": forward_macs(graph),
        "forecast": cost.to_json(),
        "ledger": [plan.to_json() for plan in plans],
    }
    if as_json:
        print(json.dumps(facts, indent=1))
        return
    console = Screen()
    console.say(run_config.dump(settings))
    console.say(f"{graph.name}: {facts['parameters']:,} parameters, {facts['macs']:,} MACs")
    console.say(f"cost: {cost}")
    device, recomputed = (Column(name, overflow="fold") for name in ("device", "recomputed"))
    table = Table("partition", device, "budget", "peak", "micro-batch", recomputed, pad_edge=False)
    for plan in plans:
        table.add_row(
            str(plan.partition),
            plan.device,
            format_bytes(plan.budget_bytes),
            format_bytes(plan.predicted_peak_bytes),
            f"{plan.step.micro_batch} of {plan.batch}",
            ", ".join(plan.step.recompute),
        )
    console.print(table)


def _conclude(report: dict[str, Any], folder: RunFolder, as_json: bool) -> None:
    from fedtiny.report import headline  # noqa: PLC0415 - pandas and matplotlib are slow to import

    if as_json:
        print(json.dumps(report, indent=1))
        return
    console = Screen()
    for line in headline(report):
        console.say(line)
    console.say(f"report: {folder.path / 'report.md'}, plots: {folder.plots}")
    if folder.firmware.is_dir():
        command = f"make -C {shlex.quote(str(folder.firmware))} check"
        console.say(f"check the C yourself: {command}")


if __name__ == "__main__":
    cli()
