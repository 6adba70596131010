"""Look at the server from a device: does it answer, is it the right one, what time has it."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.client import HTTPException, HTTPSConnection
from pathlib import Path

from cryptography import x509

from fedtiny.errors import FedTinyError
from fedtiny.node.address import host_and_port

_TIMEOUT_S = 10.0


class ServerRefusedError(FedTinyError):
    """Who answers there is not the federation's server, or its certificate is not valid."""


class ServerAwayError(FedTinyError):
    """Nobody answers there now."""


@dataclass(frozen=True, slots=True)
class ServerView:
    """What a device sees of its server.

    Attributes:
        days_left: whole days that its certificate is valid for.
        ahead_s: seconds that its clock is ahead of this one; None if it does not say.
    """

    days_left: int
    ahead_s: float | None


def look_at(host: str, port: int, ca_file: Path) -> ServerView:
    """Connect once, over TLS.

    Args:
        host: name or address that must stand in the certificate.
        port: of the SuperLink.
        ca_file: PEM file of the authority that must have issued the certificate.

    Raises:
        ServerRefusedError: the certificate is another authority's, for another name, expired.
        ServerAwayError: no connection.
    """
    context = ssl.create_default_context(cafile=str(ca_file))
    connection = HTTPSConnection(host, port, timeout=_TIMEOUT_S, context=context)
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        encoded = connection.sock.getpeercert(binary_form=True)
        connection.request("GET", "/health")
        told = connection.getresponse().getheader("Date", "")
    except ssl.SSLCertVerificationError as error:
        raise ServerRefusedError(_refusal(host, port, error)) from error
    except ssl.SSLError as error:
        raise ServerRefusedError(
            f"{host_and_port(host, port)} does not speak TLS ({error.reason}): is this the "
            "SuperLink's port?"
        ) from error
    except (OSError, HTTPException) as error:
        raise ServerAwayError(_absence(host, port, error)) from error
    finally:
        connection.close()
    assert encoded is not None
    expires = x509.load_der_x509_certificate(encoded).not_valid_after_utc
    ahead = (parsedate_to_datetime(told) - datetime.now(UTC)).total_seconds() if told else None
    return ServerView((expires - datetime.now(UTC)).days, ahead)


def _refusal(host: str, port: int, error: ssl.SSLCertVerificationError) -> str:
    where = f"the server at {host_and_port(host, port)}"
    match error.verify_code:
        case 10:
            return (
                f"{where}: its certificate has expired (or this device's clock is wrong). On the "
                "operator's machine: `python -m sims.deploy renew DIR`, then down and up"
            )
        case 9:
            return (
                f"{where}: its certificate is not valid yet: this device's clock is behind. "
                "Wait for the time to be synchronised (timedatectl)"
            )
        case 62 | 64:
            return (
                f"{where}: its certificate is for another name. Devices must use the name or "
                "address given to `init --host`"
            )
    return (
        f"{where}: its certificate is of another authority than this bundle's "
        f"({error.verify_message}). It is another server, or the federation was made anew: ask the "
        "operator for a new bundle"
    )


def _absence(host: str, port: int, error: OSError | HTTPException) -> str:
    where = host_and_port(host, port)
    if isinstance(error, socket.gaierror):
        return f"no machine called {host} is known here: check the name and this device's network"
    if isinstance(error, ConnectionRefusedError):
        return f"nothing listens at {where}: is the SuperLink up? (`python -m sims.deploy up DIR`)"
    if isinstance(error, TimeoutError):
        return f"{where} does not answer: a firewall, a wrong address, or no network"
    return f"no connection to {where}: {error}"
