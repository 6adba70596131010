"""Running a federation: its server, its nodes on this machine, its job."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.table import Column, Table

from fedtiny.escaping.terminal import Screen, visible
from fedtiny.memory.ledger import format_bytes
from sims.deploy import arrivals, audit, job, local, processes, registry, superlink
from sims.deploy.logs import tail
from sims.deploy.options import Dir, Json, open_home, print_json, tell
from sims.deploy.status import status as status_of

Resume = Annotated[bool, typer.Option("--resume", help="Go on with the interrupted run.")]


def up(
    path: Dir,
    count: Annotated[
        int, typer.Option("--local", min=0, help="Nodes to run on this machine, and the job.")
    ] = 0,
    resume: Resume = False,
    run_job: Annotated[bool, typer.Option("--job/--no-job", help="With --local.")] = True,
    as_json: Json = False,
) -> None:
    """Start the SuperLink; with --local N also N nodes here, and run the job to its end."""
    home = open_home(path)
    nodes = local.prepare(home, count) if count else []
    tell("starting the SuperLink")
    superlink.start(home)
    known = superlink.known(home) if nodes else set()
    nodes = [superlink.register(home, registry.load(home, one.name), known) for one in nodes]
    for node in nodes:
        word = "started" if local.start(home, node) else "runs already"
        tell(f"node {node.name} {word}, partition {node.partition}")
    facts: dict[str, Any] = {
        "address": home.settings().address,
        "nodes": [one.name for one in nodes],
    }
    local.wait(home, nodes)
    if nodes and run_job:
        facts["model"] = str(job.run(home, resume, tell))
    if as_json:
        return print_json(facts)
    print(f"the SuperLink is up at {facts['address']}")
    if "model" in facts:
        print(f"model: {facts['model']}")
    print(f"look: python -m sims.deploy status {path}; end: python -m sims.deploy down {path}")
    return None


def run(path: Dir, resume: Resume = False, as_json: Json = False) -> None:
    """Run the job on the nodes that are connected, to its end."""
    model = job.run(open_home(path), resume, tell)
    if as_json:
        return print_json({"model": str(model)})
    print(f"model: {model}")
    return None


def status(path: Dir, as_json: Json = False) -> None:
    """The SuperLink, every node and what it said of itself, days left of certificates, the run."""
    found = status_of(open_home(path))
    if as_json:
        return print_json(found)
    link = found["superlink"]
    print(f"SuperLink   {found['address']}, {'up' if link['running'] else 'down'}")
    print(f"authority   {found['authority_days']} days left")
    print(f"server      {found['server_days']} days left")
    done = found["run"]
    print(f"run         round {done['round']} of {done['rounds']}{', finished' * done['finished']}")
    Screen().print(_nodes_table(found["nodes"]))
    return None


def _nodes_table(nodes: list[dict[str, Any]]) -> Table:
    """RAM and temperature are of the run's start, the peak is of its first round."""
    table = Table(
        Column("node", overflow="fold"), "standing", "part", Column("board", overflow="fold"),
        "days left", "last seen", "free RAM", "°C", "peak / ledger",
    )  # fmt: skip
    for node in nodes:
        degrees = node["temperature_c"]
        table.add_row(
            *(str(node[cell]) for cell in ("name", "standing", "partition", "device")),
            *(str(node[cell]) for cell in ("days_left", "last_seen")),
            _size(node["free_ram_bytes"]),
            "" if degrees is None else str(degrees),
            " / ".join(filter(None, map(_size, (node["peak_bytes"], node["ledger_bytes"])))),
        )
    return table


def _size(count: int | None) -> str:
    return "" if count is None else format_bytes(count)


def logs(
    path: Dir,
    name: Annotated[str, typer.Argument(metavar="NODE", help="A local node, superlink or run.")],
    lines: Annotated[int, typer.Option(min=1, help="The last so many.")] = 50,
    as_json: Json = False,
) -> None:
    """What a process on this machine printed."""
    found = tail(open_home(path), name, lines)
    if as_json:
        return print_json({"name": name, "lines": found})
    for line in found:
        print(visible(line))
    return None


def down(path: Dir, as_json: Json = False) -> None:
    """End what `up` started, and nothing else: nodes first, then the SuperLink."""
    home = open_home(path)
    started = processes.recorded(home)
    ended = processes.end(home, [one for one in started if one.name != superlink.NAME])
    ended += processes.end(home, [one for one in started if one.name == superlink.NAME])
    arrivals.collect(home)
    if ended:
        audit.record(home, "down", ended=ended)
    if as_json:
        return print_json({"ended": ended})
    print(f"ended: {', '.join(ended)}" if ended else "nothing was running")
    return None
