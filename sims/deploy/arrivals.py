"""Joins and refusals: read from the SuperLink's log, written to the audit log in our words."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedtiny.node.keys import fingerprint, public_text
from fedtiny.runs import atomic
from sims.deploy import audit, processes, registry
from sims.deploy.home import Home
from sims.deploy.registry import Node, Standing

_JOINED = re.compile(r"Activated node_id=(\d+)")
_REFUSED = re.compile(r"public key: (b'(?:[^'\\]|\\.)*'), exception: (.*)")
_SUPERLINK = "superlink"


def collect(home: Home) -> list[dict[str, Any]]:
    """Write what is new in the SuperLink's log to the audit log; those entries.

    How far the log was read is kept, so that every arrival is written once, whoever collects; one
    that could not be written is not passed over.
    """
    path, mark = processes.log_file(home, _SUPERLINK), home.runtime / "superlink.read"
    if not path.exists():
        return []
    start = int(mark.read_text(encoding="utf-8")) if mark.exists() else 0
    with path.open("rb") as file:
        file.seek(start)
        text = file.read()
    text = text[: text.rfind(b"\n") + 1]  # a line that is being written is for the next time
    found = list(_arrivals(text.decode("utf-8", errors="replace"), registry.all_nodes(home)))
    for one in found:
        audit.record(home, **one)
    if text:
        atomic.write(mark, str(start + len(text)))
    return found


def _arrivals(log: str, nodes: list[Node]) -> Iterator[dict[str, Any]]:
    names = {node.node_id: node.name for node in nodes}
    by_key = {node.fingerprint: node for node in nodes}
    for line in log.splitlines():
        if joined := _JOINED.search(line):
            node_id = int(joined[1])
            yield {"act": "join", "node": names.get(node_id, ""), "node_id": node_id}
        elif refused := _REFUSED.search(line):
            key = _fingerprint(refused[1])
            node = by_key.get(key)
            yield {
                "act": "refuse",
                "node": node.name if node else "",
                "fingerprint": key,
                "reason": _reason(node),
            }


def _reason(node: Node | None) -> str:
    if node is None:
        return "a key that was never approved"
    if node.standing is Standing.REVOKED:
        return "a revoked key"
    if not node.node_id:
        return "a key that was approved, but not added: python -m sims.deploy add-node"
    return "a key that another SuperNode uses, or one whose node was killed less than a minute ago"


def _fingerprint(literal: str) -> str:
    """Of the key that Flower printed as a Python literal; empty if it is none."""
    try:
        key = serialization.load_pem_public_key(ast.literal_eval(literal))
    except (ValueError, SyntaxError):
        return ""
    if not isinstance(key, ec.EllipticCurvePublicKey):
        return ""
    return fingerprint(public_text(key))
