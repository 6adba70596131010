"""What a run did that its operator may be asked about later: into the audit log, as it happens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fedtiny.runs import checkpoint
from fedtiny.runs.events import Banned, Doubted, Event, Exchanged
from fedtiny.runs.folder import RunFolder
from sims.deploy import audit, registry
from sims.deploy.home import Home
from sims.deploy.registry import Standing


class Trail:
    """Writes replies that were not taken, bans and checkpoints to the audit log.

    Args:
        home: of the deployment.
        folder: of the run; checkpoints that it has already are not written again.
    """

    def __init__(self, home: Home, folder: RunFolder) -> None:
        self._home = home
        self._folder = folder
        self._known = set(self._checkpoints())
        nodes = registry.all_nodes(home)
        self._names = {n.partition: n.name for n in nodes if n.standing is not Standing.REVOKED}

    def note(self, event: Event) -> None:
        """Write what this event says of a node."""
        for act, partition, facts in _acts(event):
            node = self._names.get(partition, "")
            audit.record(self._home, act, node=node, partition=partition, **facts)

    def look(self) -> None:
        """Write every checkpoint that is new."""
        for name, digest in self._checkpoints().items():
            if name not in self._known:
                self._known.add(name)
                audit.record(self._home, "checkpoint", file=name, sha256=digest)

    def _checkpoints(self) -> dict[str, str]:
        paths = sorted(self._folder.checkpoints.glob("*.safetensors"))
        digests = {path.name: checkpoint.recorded_digest(path) for path in paths}
        return {name: digest for name, digest in digests.items() if digest}


def _acts(event: Event) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """(act, partition, facts) of an event."""
    match event:
        case Exchanged(round=round, phase=phase, failures=failures):
            for one in failures:
                if one.refused:
                    facts = {"round": round, "phase": phase, "reason": one.reason}
                    yield "refuse reply", one.partition, facts
        case Doubted(round=round, phase=phase, partition=partition, reason=reason):
            yield "doubt reply", partition, {"round": round, "phase": phase, "reason": reason}
        case Banned(round=round, partition=partition, offences=offences):
            yield "ban", partition, {"round": round, "offences": offences}
