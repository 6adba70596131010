"""Hosts and ports."""

from __future__ import annotations

import ipaddress
import socket


def host_and_port(host: str, port: int) -> str:
    """As programs and people write them.

    >>> host_and_port("desk.local", 8443), host_and_port("fd00::1", 8443)
    ('desk.local:8443', '[fd00::1]:8443')
    """
    return f"[{host}]:{port}" if is_ipv6(host) else f"{host}:{port}"


def is_ipv6(host: str) -> bool:
    """Whether it is an address of that kind; names and the like are not.

    >>> is_ipv6("::1"), is_ipv6("127.0.0.1"), is_ipv6("desk.local")
    (True, False, False)
    """
    try:
        return ipaddress.ip_address(host).version == 6
    except ValueError:
        return False


def free_port() -> int:
    """A TCP port of this machine's that nobody listens on now, in 1024..65535."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
