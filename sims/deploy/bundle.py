"""Write what one node is given: settings, the authority's certificate, unit, script, manifest."""

from __future__ import annotations

import shutil
from pathlib import Path

from fedtiny.config import RunConfig
from fedtiny.node.bundle import SETTINGS, NodeSettings
from fedtiny.node.manifest import CA_FILE, sign_folder
from fedtiny.node.places import UNIT
from sims.deploy.authority import authority_key
from sims.deploy.home import Home
from sims.deploy.install_script import install_script
from sims.deploy.registry import Node
from sims.deploy.systemd import node_unit


def write_bundle(home: Home, node: Node, job: RunConfig) -> Path:
    """The node's bundle, anew; an earlier one is replaced whole. The folder written."""
    settings = _settings(home, node, job)
    folder = home.bundles / node.name
    fresh = home.bundles / f".{node.name}.part"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir()
    (fresh / SETTINGS).write_text(settings.model_dump_json(indent=1) + "\n", encoding="utf-8")
    (fresh / CA_FILE).write_bytes(home.ca_certificate.read_bytes())
    (fresh / UNIT).write_text(node_unit(settings), encoding="utf-8")
    (fresh / "install.sh").write_text(install_script(settings), encoding="utf-8")
    sign_folder(fresh, authority_key(home))
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder


def _settings(home: Home, node: Node, job: RunConfig) -> NodeSettings:
    server = home.settings()
    return NodeSettings(
        format=1,
        federation=server.name,
        node=node.name,
        host=server.own_host if node.local else server.host,
        port=server.port,
        partition=node.partition,
        partitions=job.data.partitions,
        device=node.device,
        memory_max_bytes=node.memory_max_bytes,
        data=node.data,
        key_fingerprint=node.fingerprint,
        valid_until=node.valid_until,
    )
