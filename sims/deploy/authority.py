"""The federation's own certificate authority, and the server certificate that it issues."""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from fedtiny.node.manifest import load_certificate
from fedtiny.node.private import read_private, write_private
from sims.deploy.home import DeployError, Home

AUTHORITY_DAYS = 3650
SERVER_DAYS = 365
WARN_DAYS = 30
"""Below so many days left, every command that looks says so."""

_BACKDATED = timedelta(minutes=5)  # a device's clock may be a little behind
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")


def make_authority(home: Home, name: str) -> x509.Certificate:
    """A new key and its self-signed certificate, which may sign certificates and nothing above."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = _name(f"{name} authority")
    usage = x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=True,
        crl_sign=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        _builder(subject, subject, key.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    write_private(home.ca_key, _pem(key))
    home.ca_certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


def issue_server_certificate(home: Home, host: str, days: int = SERVER_DAYS) -> x509.Certificate:
    """A certificate for ``host`` and this machine's own names, with a new key if there is none.

    Args:
        home: of the deployment.
        host: a DNS name or an IP address.
        days: that it is valid for.

    Raises:
        DeployError: ``host`` is neither a name nor an address.
    """
    authority, signer = load_certificate(home.ca_certificate), authority_key(home)
    if not home.server_key.exists():
        write_private(home.server_key, _pem(ec.generate_private_key(ec.SECP256R1())))
    public = _load(home.server_key).public_key()
    names = [*dict.fromkeys([_general_name(host), *map(_general_name, _LOCAL)])]
    certificate = (
        _builder(_name(host), authority.subject, public, days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    part = home.server_certificate.with_suffix(".part")
    part.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    part.replace(home.server_certificate)
    return certificate


_LOCAL = ("localhost", "127.0.0.1", "::1")  # the operator's own commands, and nodes of `up --local`


def authority_key(home: Home) -> ec.EllipticCurvePrivateKey:
    """The key that signs certificates and bundles; errors as :func:`read_private`."""
    return _load(home.ca_key)


def days_left(certificate: x509.Certificate) -> int:
    """Whole days that it is still valid for; negative once it has expired."""
    return (certificate.not_valid_after_utc - datetime.now(UTC)).days


def check_host(host: str) -> str:
    """``host`` if it is a DNS name or an IP address.

    Raises:
        DeployError: it is not: a URL, with a port, or with odd characters.
    """
    _general_name(host)
    return host


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        if not _HOST.fullmatch(host) or ".." in host:
            raise DeployError(
                f"--host {host!r}: write the name or the IP address under which devices reach "
                "this machine, e.g. fed.example.org, 192.168.1.10 or fd00::10, without https:// or "
                "port"
            ) from None
        return x509.DNSName(host)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + timedelta(days=days)) - _BACKDATED)
        .not_valid_after(now + timedelta(days=days))
    )


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common[:64])])


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def _load(path: Path) -> ec.EllipticCurvePrivateKey:
    try:
        key = serialization.load_pem_private_key(read_private(path), None)
    except (ValueError, TypeError) as error:
        raise DeployError(f"{path} holds no private key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise DeployError(f"{path} holds a key that is not ECDSA: it is not one of ours")
    return key
