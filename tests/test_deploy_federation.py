"""Three nodes over TLS, in processes of their own: the same bytes; who is kept out is told why."""

from __future__ import annotations

import json
import os
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from deployments import Deployment, finish, make, start, wait_for
from guide import FIRST
from memory_watch import Watch

from fedtiny.config import RunConfig, load
from fedtiny.node.address import free_port
from fedtiny.node.manifest import sign_folder
from fedtiny.node.request import read_request
from fedtiny.runs.events import Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.wire.phase import Phase
from sims.backends import Backend, run_federation
from sims.deploy import admission, audit, registry
from sims.deploy.authority import authority_key, issue_server_certificate
from sims.deploy.bundle import write_bundle
from sims.deploy.home import Home

GROWTH_MB = 12.0
"""From the first round to the third, of one process: allocators take some rounds to settle."""

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def watch(tmp_path_factory: pytest.TempPathFactory) -> Watch:
    return Watch(Deployment(Home(tmp_path_factory.mktemp("living") / "try")))


@pytest.fixture(scope="module")
def living(watch: Watch) -> Iterator[Deployment]:
    """The guide's first federation, by its own commands: the job is done, nodes wait for the next.

    Word for word, but for the folder, which is elsewhere, and the port, which is free.
    """
    deployment = watch.fed
    init, *others, down = [words[3:] for words in FIRST]
    try:
        deployment.call(*elsewhere(init), "--port", free_port())
        up, *others = others
        job = deployment.begin(*elsewhere(up))
        for round in range(1, admission.job_of(deployment.home).federation.rounds + 1):
            wait_for(partial(watch.over, round), f"the end of round {round}", job)
        finish(job)
        for words in others:
            deployment.call(*elsewhere(words))
        yield deployment
    finally:
        deployment.call(*elsewhere(down))


def elsewhere(words: list[str]) -> list[str]:
    """A command without its folder, which :meth:`Deployment.call` adds."""
    assert words[1] == "try"
    return [words[0], *words[2:]]


def node(bundle: Path, key: Path, state: Path) -> subprocess.Popen[str]:
    words = ["node", str(bundle), "--key", str(key), "--state", str(state)]
    return start([sys.executable, "-m", "fedtiny", *words])


def stranger(living: Deployment, tmp_path: Path) -> tuple[Path, Path]:
    """A device that asked to be let in, and a bundle that nobody should have given it."""
    words = ["request", "--name", "stranger", "--out", str(tmp_path), "--json"]
    finish(start([sys.executable, "-m", "sims.deploy", *words]))
    request = read_request(tmp_path / "stranger.request")
    first = registry.load(living.home, "local-0")
    changes = {"name": "stranger", "fingerprint": request.fingerprint, "node_id": 0}
    forged = first.model_copy(update={**changes, "public_key": request.public_key})
    return write_bundle(living.home, forged, job(living)), tmp_path / "stranger.key"


def job(living: Deployment) -> RunConfig:
    return admission.job_of(living.home)


def test_the_model_is_that_of_one_process(living: Deployment, tmp_path: Path) -> None:
    run_federation(load(living.home.job), RunFolder(tmp_path / "run"), Backend.INLINE)
    alone = (tmp_path / "run/model.safetensors").read_bytes()
    assert living.run.model.read_bytes() == alone


def test_nobody_grew(living: Deployment, watch: Watch) -> None:
    """In these few rounds; ``make soak`` has a hundred."""
    growth = watch.growth(1)
    print(watch.rows[0][1], growth)
    assert max(growth.values()) < GROWTH_MB, growth


def test_a_key_that_was_never_added_is_refused(living: Deployment, tmp_path: Path) -> None:
    bundle, key = stranger(living, tmp_path)
    said = finish(node(bundle, key, tmp_path / "state"), status=2)
    assert "error: the server does not accept this node's key: it was not added there" in said
    living.call("status")
    refused = [one for one in audit.entries(living.home) if one["act"] == "refuse"]
    assert "a key that was never approved" in [one["reason"] for one in refused]


def test_a_key_that_is_in_use_is_refused(living: Deployment, tmp_path: Path) -> None:
    key = living.home.local / "local-0/node.key"
    said = finish(node(living.home.bundles / "local-0", key, tmp_path / "state"), status=2)
    assert "another SuperNode uses it now" in said
    assert living.connection("local-0") == "online", "the rightful one goes on"


def test_a_server_of_another_authority_is_refused(living: Deployment, tmp_path: Path) -> None:
    other = make(tmp_path / "other")
    folder = living.home.bundles / "local-1"
    bundle = tmp_path / "bundle"
    bundle.mkdir()
    for file in folder.iterdir():
        (bundle / file.name).write_bytes(file.read_bytes())
    (bundle / "ca.crt").write_bytes(other.home.ca_certificate.read_bytes())
    key = living.home.local / "local-1/node.key"
    said = finish(node(bundle, key, tmp_path / "state"), status=2)
    assert "manifest.json is not signed by ca.crt" in said
    sign_folder(bundle, authority_key(other.home))
    said = finish(node(bundle, key, tmp_path / "state"), status=2)
    assert "its certificate is of another authority than this bundle's" in said


class _Nothing(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


@pytest.mark.parametrize(
    ("host", "days", "part"),
    [
        ("127.0.0.1", -3, "its certificate has expired"),
        ("127.0.0.1", 30, ""),
    ],
)
def test_an_expired_server_is_refused(tmp_path: Path, host: str, days: int, part: str) -> None:
    """By the same look at a server that is not Flower's: only the certificate differs."""
    fed = make(tmp_path / "fed")
    issue_server_certificate(fed.home, host, days)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(fed.home.server_certificate, fed.home.server_key)
    port = fed.home.settings().port
    server = HTTPServer((host, port), _Nothing)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        device = tmp_path / "device"
        device.mkdir()
        words = ["request", "--name", "pi0", "--out", str(device)]
        finish(start([sys.executable, "-m", "sims.deploy", *words]))
        fed.call("approve", device / "pi0.request")
        words = ["doctor", "--node", str(fed.home.bundles / "pi0"), "--json"]
        key = ["--key", str(device / "pi0.key")]
        said = finish(start([sys.executable, "-m", "fedtiny", *words, *key]), status=2)
        checks = {one["name"]: one for one in json.JSONDecoder().raw_decode(said)[0]["node"]}
        assert checks["server"]["ok"] == (not part)
        assert part in checks["server"]["detail"]
        assert checks["bundle"]["ok"]
        if part:
            bundle, state = fed.home.bundles / "pi0", tmp_path / "state"
            assert part in finish(node(bundle, device / "pi0.key", state), status=2)
    finally:
        server.shutdown()
        server.server_close()


def test_a_node_that_was_stopped_joins_again(living: Deployment) -> None:
    os.kill(living.pid("local-2"), signal.SIGTERM)
    wait_for(lambda: "SuperNode terminated gracefully" in living.log("local-2"), "its end", None)
    before = living.log("local-2").count("SuperNode ID")
    living.call("up", "--local", 3, "--no-job")
    wait_for(lambda: living.log("local-2").count("SuperNode ID") > before, "its return", None)
    assert living.connection("local-2") == "online"


def test_a_node_that_is_revoked_while_connected_is_thrown_out(living: Deployment) -> None:
    living.call("revoke", "local-1")
    wait_for(lambda: "error: " in living.log("local-1"), "its end", None)
    assert "the server no longer accepts this node: it was revoked" in living.log("local-1")
    assert living.connection("local-1") != "online"
    said = living.call("up", "--local", 3, status=2)
    assert "local-1 was revoked" in said


def test_a_federation_over_ipv6(tmp_path: Path) -> None:
    sizes = ("federation.rounds=1", "federation.evaluate_every=1", "pruning.stop=1")
    fed = make(tmp_path / "fed", *sizes, nodes=1, host="::1")
    try:
        fed.call("up", "--local", 1)
        assert f"--superlink [::1]:{fed.home.settings().port} " in command_line(fed.pid("local-0"))
        (trained,) = [one for one in fed.run.events(Exchanged) if one.phase is Phase.TRAIN]
        assert (trained.asked, trained.answered) == (1, 1)
        assert fed.run.model.exists()
    finally:
        fed.call("down")


def command_line(pid: int) -> str:
    raw = Path(f"/proc/{pid}/cmdline").read_text(encoding="utf-8", errors="replace")
    return raw.replace("\0", " ")


def test_the_audit_log_names_everybody_who_came(living: Deployment) -> None:
    lines = audit.entries(living.home)
    assert {"local-0", "local-1", "local-2"} <= {x["node"] for x in lines if x["act"] == "join"}
    assert [x["node"] for x in lines if x["act"] == "revoke"] == ["local-1"]
    assert {"init", "approve", "superlink started", "add-node", "run", "run finished"} <= {
        x["act"] for x in lines
    }
