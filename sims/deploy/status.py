"""How a deployment is: its SuperLink, its nodes, its certificates, its run."""

from __future__ import annotations

from typing import Any

from fedtiny.errors import FedTinyError
from fedtiny.node.manifest import load_certificate
from fedtiny.runs.events import RoundFinished
from fedtiny.runs.folder import RunFolder
from sims.deploy import admission, arrivals, processes, registry, superlink
from sims.deploy.authority import days_left
from sims.deploy.home import Home
from sims.deploy.vitals import Vitals, vitals


def status(home: Home) -> dict[str, Any]:
    """Everything that is known, as JSON has it; asks the SuperLink if it runs."""
    arrivals.collect(home)
    link = processes.running(home, superlink.NAME)
    seen = {int(one["node-id"]): one for one in superlink.listed(home)} if link else {}
    settings, said = home.settings(), vitals(RunFolder(home.results))
    return {
        "federation": settings.name,
        "address": settings.address,
        "superlink": {"running": link is not None, "pid": link.pid if link else None},
        "authority_days": days_left(load_certificate(home.ca_certificate)),
        "server_days": days_left(load_certificate(home.server_certificate)),
        "nodes": [
            {**_node(home, one, seen), **_vitals(said.get(one.partition, Vitals()))}
            for one in registry.all_nodes(home)
        ],
        "run": _run(home),
    }


def _node(home: Home, node: registry.Node, seen: dict[int, dict[str, str]]) -> dict[str, Any]:
    known = seen.get(node.node_id, {})
    process = processes.running(home, node.name)
    return {
        "name": node.name,
        "standing": str(node.standing),
        "partition": node.partition,
        "device": node.device,
        "days_left": node.days_left,
        "memory_max_bytes": node.memory_max_bytes,
        "node_id": node.node_id,
        "connection": known.get("status", "unknown"),
        "online_since": known.get("online-at", ""),
        "offline_since": known.get("offline-at", ""),
        "last_seen": _last_seen(known),
        "local": node.local,
        "pid": process.pid if process else None,
    }


def _last_seen(known: dict[str, str]) -> str:
    """``now`` of one that is connected (to a minute), else when the SuperLink lost it."""
    if known.get("status") == "online":
        return "now"
    return known.get("offline-at", "") or "never"


def _vitals(one: Vitals) -> dict[str, Any]:
    measured, ledger = one.measured, one.ledger
    return {
        "hardware": measured.hardware if measured else "",
        "free_ram_bytes": measured.free_ram_bytes if measured else None,
        "temperature_c": measured.temperature_c if measured else None,
        "ledger_bytes": ledger.predicted_peak_bytes if ledger else None,
        "peak_bytes": ledger.measured_peak_bytes if ledger else None,
    }


def _run(home: Home) -> dict[str, Any]:
    """The rounds that are done; of a run that never started, none."""
    folder = RunFolder(home.results)
    rounds = admission.job_of(home).federation.rounds
    try:
        done = folder.events(RoundFinished)
    except FedTinyError:
        done = []
    last = done[-1].round if done else 0
    return {"finished": folder.model.exists(), "round": last, "rounds": rounds}
