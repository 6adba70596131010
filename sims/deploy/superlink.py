"""The SuperLink of a deployment: started over TLS with node authentication, told of its nodes."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import sys
import time
from collections.abc import Collection
from pathlib import Path

from fedtiny.node.address import host_and_port, is_ipv6
from fedtiny.node.manifest import load_certificate
from sims.deploy import audit, flower, processes, registry
from sims.deploy.authority import days_left
from sims.deploy.home import DeployError, Home
from sims.deploy.registry import Node, Standing

NAME = "superlink"
_START_S = 60.0
_POLL_S = 0.2
_TAIL_LINES = 15


def start(home: Home) -> bool:
    """Start it if it does not run, and add the keys of all approved nodes; whether it was started.

    Raises:
        DeployError: its certificate has expired, the port is another program's, or it did not come
            up; ends with the end of its log.
    """
    if processes.running(home, NAME) is not None:
        return False
    left = days_left(load_certificate(home.server_certificate))
    if left < 0:
        raise DeployError(
            f"the server's certificate expired {-left} days ago: every device would refuse it; "
            f"`python -m sims.deploy renew {home.path}`"
        )
    port, address = home.settings().port, bind_address(home.settings().host)
    check_port(address, port)
    home.runtime.mkdir(exist_ok=True)
    flower.write_link(home)
    processes.start(home, NAME, _command(home, address, port), flower.environment(home))
    _wait(home)
    audit.record(home, "superlink started", port=port)
    there = known(home)
    for node in registry.all_nodes(home):
        if node.standing is Standing.APPROVED and not node.expired:
            register(home, node, there)
    return True


def require(home: Home) -> None:
    """See that it runs.

    Raises:
        DeployError: it does not.
    """
    if processes.running(home, NAME) is None:
        raise DeployError(
            f"the SuperLink of {home.path} is not running: `python -m sims.deploy up {home.path}`"
        )


def register(home: Home, node: Node, there: Collection[int] | None = None) -> Node:
    """Add a node's key to the running SuperLink; the node with the id that it has there.

    Args:
        home: of the deployment.
        node: approved.
        there: ids of nodes that the SuperLink has; asked for if None.

    Raises:
        DeployError: the SuperLink refuses it.
    """
    if node.node_id in (known(home) if there is None else there):
        return node
    key = home.runtime / f"{node.name}.pub"
    key.write_text(f"{node.public_key} {node.name}\n", encoding="utf-8")
    answer = flower.call(
        home, "supernode", "register", str(key.resolve()), flower.LINK, "--name", node.name
    )
    key.unlink()
    node = node.model_copy(update={"node_id": int(answer["node-id"])})
    registry.save(home, node)
    audit.record(home, "add-node", node=node.name, node_id=node.node_id)
    return node


def unregister(home: Home, node: Node) -> None:
    """Take a node's key from the running SuperLink, which then refuses all it says."""
    flower.call(home, "supernode", "unregister", str(node.node_id), flower.LINK)


def listed(home: Home) -> list[dict[str, str]]:
    """What the SuperLink says of its nodes."""
    nodes: list[dict[str, str]] = flower.call(home, "supernode", "list", flower.LINK)["nodes"]
    return nodes


def known(home: Home) -> set[int]:
    """Ids of the nodes whose keys the SuperLink has."""
    return {int(one["node-id"]) for one in listed(home)}


def check_port(address: str, port: int) -> None:
    """See that nobody listens there.

    Raises:
        DeployError: somebody does.
    """
    with socket.socket(socket.AF_INET6 if is_ipv6(address) else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((address, port))
        except OSError as error:
            raise DeployError(
                f"cannot listen on {host_and_port(address, port)}: {error.strerror}. End what uses "
                f"the port (ss -ltnp 'sport = :{port}' names it), or init with another --port"
            ) from error


def _command(home: Home, address: str, port: int) -> list[str]:
    program = Path(sys.executable).with_name("flower-superlink")
    if not program.exists():
        raise DeployError(
            f"{program} is not there: install Flower into this environment, "
            "pip install 'fedtiny[sim]'"
        )
    return [
        str(program),
        *("--ssl-ca-certfile", str(home.ca_certificate.resolve())),
        *("--ssl-certfile", str(home.server_certificate.resolve())),
        *("--ssl-keyfile", str(home.server_key.resolve())),
        "--enable-supernode-auth",
        *("--database", str((home.runtime / "state.db").resolve())),
        *("--host", address, "--port", str(port)),
        "--disable-runtime-dependency-installation",
    ]


def _wait(home: Home) -> None:
    """Until it speaks TLS with the certificate that it should have."""
    context = ssl.create_default_context(cafile=str(home.ca_certificate))
    host, port = home.settings().own_host, home.settings().port
    deadline = time.monotonic() + _START_S
    while processes.running(home, NAME) is not None and time.monotonic() < deadline:
        try:
            with (
                socket.create_connection((host, port), timeout=5) as raw,
                context.wrap_socket(raw, server_hostname=host),
            ):
                return
        except ssl.SSLCertVerificationError as error:
            raise DeployError(f"the SuperLink's certificate is wrong: {error}") from error
        except OSError:
            time.sleep(_POLL_S)
    log = processes.log_file(home, NAME)
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    raise DeployError(
        "the SuperLink did not start; the end of its log:\n" + "\n".join(lines[-_TAIL_LINES:])
    )


def bind_address(host: str) -> str:
    """Only this machine's own address if devices are told that; all of its addresses else.

    Of IPv4, unless ``host`` is an address of IPv6: Flower's server listens on one kind.

    >>> [bind_address(host) for host in ("localhost", "::1", "desk.local", "fd00::1")]
    ['127.0.0.1', '::1', '0.0.0.0', '::']
    """
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost"
    if is_ipv6(host):
        return "::1" if local else "::"
    return "127.0.0.1" if local else "0.0.0.0"
