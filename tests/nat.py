"""A router that forgets connections: what stands between a device at home and its server."""

from __future__ import annotations

import json
import select
import socket
import subprocess
import sys
import threading
from pathlib import Path

from deployments import Deployment, start

from fedtiny.node.bundle import SETTINGS
from fedtiny.node.manifest import sign_folder
from sims.deploy.authority import authority_key

FORGETS_S = 4.0
"""Flower's nodes ask for messages every 3 s, but not while they train: heartbeats are rarer."""

_ANSWER_S = 120.0


class Nat:
    """Carries TCP connections to a port of this machine; silent ones are forgotten without a word.

    A forgotten connection stays open on both sides, and nothing comes through it any more: the
    worst that routers do. They wait for minutes; this one does only while an answer is due, for a
    server that is slow because its machine is busy is not what is tested.

    Args:
        port: on 127.0.0.1, that it leads to.
        idle_s: after so many seconds without a byte, since an answer, a connection is forgotten.

    Attributes:
        port: where it listens, on 127.0.0.1.
        carried, forgotten: connections, so far.
    """

    def __init__(self, port: int, idle_s: float) -> None:
        self._to, self._idle_s = port, idle_s
        self._open: list[socket.socket] = []
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._door.getsockname()[1])
        self.carried = self.forgotten = 0
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        for one in [self._door, *self._open]:
            one.close()

    def _listen(self) -> None:
        while True:
            try:
                inside, _ = self._door.accept()
            except OSError:
                return  # closed
            self.carried += 1
            threading.Thread(target=self._carry, args=(inside,), daemon=True).start()

    def _carry(self, inside: socket.socket) -> None:
        try:
            outside = socket.create_connection(("127.0.0.1", self._to))
        except OSError:  # nobody listens there now
            inside.close()
            return
        other, patience_s = {inside: outside, outside: inside}, _ANSWER_S
        try:
            while ready := select.select([inside, outside], [], [], patience_s)[0]:
                for one in ready:
                    patience_s = _ANSWER_S if one is inside else self._idle_s
                    data = one.recv(65536)
                    if not data:
                        inside.close()
                        outside.close()
                        return
                    other[one].sendall(data)
        except (OSError, ValueError):  # reset, or closed meanwhile
            inside.close()
            outside.close()
            return
        self.forgotten += 1
        self._open += [inside, outside]


def start_behind(nat: Nat, fed: Deployment, name: str, bundle: Path) -> subprocess.Popen[str]:
    """A local node that knows its server under the router's port.

    Args:
        nat: the router.
        fed: the node's.
        name: of the node, which must not run.
        bundle: a folder to make for it.
    """
    bundle.mkdir()
    for file in (fed.home.bundles / name).iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    settings = json.loads((bundle / SETTINGS).read_text(encoding="utf-8"))
    text = json.dumps({**settings, "port": nat.port})
    (bundle / SETTINGS).write_text(text, encoding="utf-8")
    sign_folder(bundle, authority_key(fed.home))
    folder = fed.home.local / name
    places = ["--key", str(folder / "node.key"), "--state", str(folder / "state")]
    words = [sys.executable, "-m", "fedtiny", "node", str(bundle), *places]
    with bundle.with_suffix(".log").open("w", encoding="utf-8") as log:
        return start(words, fed.environment, log)
