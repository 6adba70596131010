"""How much memory a federation's long-lived processes hold, round after round."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from deployments import Deployment, children

from clients.executor import CLIENT
from fedtiny.errors import FedTinyError
from fedtiny.runs.events import RoundFinished

_KIB_MB = 1024 / 1e6  # what /proc calls kB


@dataclass
class Watch:
    """Resident memory after each round.

    Attributes:
        fed: of the processes.
        by_hand: nodes that :mod:`sims.deploy` did not start, name to process id of their watcher.
        rows: (round, MB by name) so far.
    """

    fed: Deployment
    by_hand: dict[str, int] = field(default_factory=dict)
    rows: list[tuple[int, dict[str, float]]] = field(default_factory=list)

    def over(self, round: int) -> bool:
        """Whether a round is; measures if it is another one than last time."""
        try:
            done = len(self.fed.run.events(RoundFinished))
        except FedTinyError:  # there are no events yet
            done = 0
        if done > max((count for count, _ in self.rows), default=0):
            self.rows.append((done, self._measured()))
        return done >= round

    def growth(self, warm: int) -> dict[str, float]:
        """MB from the first look at or after round ``warm`` to the last one."""
        first, last = next(row for row in self.rows if row[0] >= warm)[1], self.rows[-1][1]
        assert all(first.values()), f"each of them is measured: {first}"
        return {name: round(last[name] - size, 1) for name, size in first.items()}

    def _measured(self) -> dict[str, float]:
        link = self.fed.pid("superlink")
        local = {one.name for one in self.fed.home.local.iterdir()} - self.by_hand.keys()
        watchers = {name: self.fed.pid(name) for name in local} | self.by_hand
        groups = {
            "superlink": [link],
            "server_app": children(link, "flwr-serverapp"),
            **{name: _node(watchers[name]) for name in sorted(watchers)},
        }
        return {name: round(sum(map(resident_mb, pids)), 1) for name, pids in groups.items()}


def _node(watcher: int) -> list[int]:
    """What of a node lives on: its clients do not."""
    return [watcher, *(one for one in children(watcher, "") if _program(one) in LASTING)]


@dataclass(frozen=True)
class Sizes:
    """Of several processes at one moment, in MB.

    Attributes:
        resident: by process, what it is.
        proportional: of all, pages that several hold counted once among them.
    """

    resident: dict[str, float]
    proportional: float

    @property
    def all_resident(self) -> float:
        """Pages that several hold counted by each."""
        return round(sum(self.resident.values()), 1)


LASTING = ("flower-supernode", "clients.executor")
PROGRAMS = ("fedtiny.node.watching", *LASTING)


def _program(pid: int) -> str:
    """The word of its command line that says what a process is; a fork says so by its name."""
    try:
        folder = Path(f"/proc/{pid}")
        name = (folder / "comm").read_text(encoding="utf-8", errors="replace").strip()
        line = (folder / "cmdline").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it is gone
        return ""
    return name if name == CLIENT else next((word for word in PROGRAMS if word in line), "another")


def node_sizes(watcher: int) -> Sizes:
    """Of all that a node runs now, its client included.

    What other nodes on this machine map from the same files is shared with them, and makes the
    second figure too small: a node needs files of its own to be measured.
    """
    resident: dict[str, float] = {}
    proportional = 0.0
    for pid in (watcher, *children(watcher, "")):
        try:
            rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="utf-8")
        except OSError:
            continue  # it is gone
        sizes = {x.split()[0]: int(x.split()[1]) * _KIB_MB for x in rollup.splitlines()[1:]}
        name = _program(pid)
        resident[name] = round(resident.get(name, 0.0) + sizes["Rss:"], 1)
        proportional += sizes["Pss:"]
    return Sizes(resident, round(proportional, 1))


def resident_mb(pid: int) -> float:
    """0 of a process that is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) * _KIB_MB
