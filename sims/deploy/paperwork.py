"""Letting devices in and keeping them out: commands that need no running server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fedtiny import config as run_config
from fedtiny.memory.ledger import format_bytes
from fedtiny.node.keys import make_key
from fedtiny.node.manifest import certificate_fingerprint
from fedtiny.node.request import check_name, request_of_this_machine, write_request
from sims.deploy import admission, audit, processes, registry, superlink
from sims.deploy.authority import check_host, days_left, issue_server_certificate, make_authority
from sims.deploy.home import DeployError, Settings, create
from sims.deploy.options import Dir, Json, Name, Set, open_home, print_json
from sims.deploy.registry import Node, Standing
from sims.deploy.systemd import superlink_unit
from sims.deploy.wheels import Machine, download
from sims.flower_run import APP

JOB = APP / "sims/configs/deployed_watch.toml"


def init(
    path: Dir,
    host: Annotated[str, typer.Option(help="Name or address of this machine for devices.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the SuperLink.")] = 8443,
    nodes: Annotated[int, typer.Option(min=1, help="Devices that take part.")] = 3,
    name: Annotated[str, typer.Option(help="Of the federation.")] = "fedtiny",
    config: Annotated[Path, typer.Option(help="TOML file of the run.")] = JOB,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Make a deployment's folder: its authority, the server's certificate, the job."""
    check_host(host)
    check_name(name)
    job = run_config.load(config, [*(set_ or []), f"data.partitions={nodes}"])
    if job.clock.is_on:
        raise DeployError(
            "clock.mode: real devices have a time of their own; leave [clock] out of a deployment"
        )
    settings = Settings(name, host, port)
    home = create(path, settings)
    home.job.write_text(run_config.dump(job), encoding="utf-8")
    authority = make_authority(home, name)
    server = issue_server_certificate(home, host)
    home.superlink_unit.write_text(superlink_unit(home), encoding="utf-8")
    fingerprint = certificate_fingerprint(authority)
    audit.record(home, "init", host=host, port=port, authority=fingerprint)
    facts = {
        "folder": str(path),
        "host": host,
        "port": port,
        "nodes": nodes,
        "authority": fingerprint,
        "authority_days": days_left(authority),
        "server_days": days_left(server),
    }
    if as_json:
        return print_json(facts)
    print(f"{path}: a federation of {nodes} nodes at {settings.address}")
    print(f"authority   {fingerprint}, valid for {facts['authority_days']} days")
    print(f"server      valid for {facts['server_days']} days")
    print("Tell the fingerprint to whoever installs a device. Keep ca.key: it is the federation.")
    return None


def request(
    name: Annotated[str, typer.Option(help="Of this device, e.g. pi-kitchen.")],
    out: Annotated[Path, typer.Option(help="Folder for key and request.")] = Path(),
    as_json: Json = False,
) -> None:
    """On the device: make its key, which never leaves it, and a request to be let in."""
    check_name(name)
    if not out.is_dir():
        raise DeployError(f"{out} is no folder: make it first (mkdir {out})")
    key = make_key(out / f"{name}.key")
    asked = request_of_this_machine(name, key)
    path = out / f"{name}.request"
    write_request(path, asked, key)
    if as_json:
        facts = {"request": str(path), "key": str(out / f"{name}.key")}
        return print_json({**facts, "fingerprint": asked.fingerprint, "board": asked.board})
    print(f"{out / f'{name}.key'}: the private key; it stays here")
    print(f"{path}: give this file to the operator")
    print(f"fingerprint {asked.fingerprint}")
    print(f"board       {asked.board or 'not in the catalogue: the operator names one'}")
    return None


def approve(
    path: Dir,
    file: Annotated[Path, typer.Argument(metavar="REQUEST", help="A device's request.")],
    partition: Annotated[
        int | None, typer.Option(help="The data it holds; by default the lowest that is free.")
    ] = None,
    device: Annotated[
        str, typer.Option(help="Its board in the catalogue; by default what it says itself.")
    ] = "",
    data: Annotated[str, typer.Option(help="Path of its samples on the device.")] = "",
    fingerprint: Annotated[str, typer.Option(help="That its key must have.")] = "",
    as_json: Json = False,
) -> None:
    """Let a device in, and write its bundle; `add-node` then tells a running SuperLink."""
    home = open_home(path)
    node, folder = admission.approve(home, file, partition, device, data, fingerprint)
    if as_json:
        return print_json({"bundle": str(folder), **_facts(node)})
    print(f"{node.name}: partition {node.partition}, {node.device or 'no board'}, data {node.data}")
    print(f"fingerprint {node.fingerprint}: compare it with what the device showed")
    print(f"bundle      {folder}: copy this folder to the device")
    return None


def add_node(path: Dir, name: Name, as_json: Json = False) -> None:
    """Tell the running SuperLink of an approved node; no other node notices."""
    home = open_home(path)
    node = registry.load(home, name)
    if node.standing is Standing.REVOKED:
        raise DeployError(f"node {name} was revoked: approve a new key instead")
    if node.expired:
        raise DeployError(
            f"node {name} has expired: `python -m sims.deploy renew {path} --node {name}`"
        )
    superlink.require(home)
    node = superlink.register(home, node)
    if as_json:
        return print_json(_facts(node))
    print(f"{name} may connect (node id {node.node_id})")
    return None


def revoke(path: Dir, name: Name, as_json: Json = False) -> None:
    """Keep a node out for good, also if it is connected; its key is never let in again."""
    home = open_home(path)
    node = registry.load(home, name)
    node = node.model_copy(update={"standing": Standing.REVOKED})
    registry.save(home, node)
    audit.record(home, "revoke", node=name, fingerprint=node.fingerprint)
    told = processes.running(home, superlink.NAME) is not None and node.node_id != 0
    if told:
        superlink.unregister(home, node)
    if as_json:
        return print_json({**_facts(node), "superlink_told": told})
    print(f"{name} is revoked" + ("; the SuperLink refuses it from now on" if told else ""))
    return None


def renew(
    path: Dir,
    name: Annotated[str, typer.Option("--node", help="Issue this node's bundle again.")] = "",
    as_json: Json = False,
) -> None:
    """A new certificate for the server, or with --node a new bundle: for a year from now."""
    home = open_home(path)
    if name:
        node, folder = admission.renew_node(home, name)
        if as_json:
            return print_json({"bundle": str(folder), **_facts(node)})
        print(f"{folder}: valid for {node.days_left} days; copy it to the device, run install.sh")
        return None
    certificate = issue_server_certificate(home, home.settings().host)
    audit.record(home, "renew", server=home.settings().host)
    restart = processes.running(home, superlink.NAME) is not None
    if as_json:
        return print_json({"server_days": days_left(certificate), "restart_needed": restart})
    print(f"server certificate: valid for {days_left(certificate)} days")
    if restart:
        print(f"the SuperLink still shows the old one: down {path}, then up {path}")
    return None


def wheels(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="Of the files; made if new.")],
    machine: Annotated[
        Machine, typer.Option(help="Processor of the devices, as `uname -m` says.")
    ] = Machine.AARCH64,
    python: Annotated[str, typer.Option(help="Python of the devices.")] = "3.11",
    as_json: Json = False,
) -> None:
    """Download what a device installs, for devices that reach no package index."""
    files = download(folder, machine, python)
    size = sum(file.stat().st_size for file in files)
    if as_json:
        return print_json({"files": [str(file) for file in files], "bytes": size})
    print(f"{folder}: {len(files)} wheels for {machine}, Python {python}; {format_bytes(size)}")
    return None


def _facts(node: Node) -> dict[str, Any]:
    return {**node.model_dump(mode="json"), "days_left": node.days_left}
