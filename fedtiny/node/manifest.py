"""A bundle's manifest: the digest of every file, signed by the federation's authority.

``manifest.json`` names every other file of the bundle with its SHA-256; ``manifest.sig`` is the
ECDSA signature over its bytes, by the key of ``ca.crt``. A bundle cannot be trusted because of a
certificate that it brings itself: the fingerprint of that one is what the operator tells the
device.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fedtiny.errors import FedTinyError

CA_FILE = "ca.crt"
MANIFEST = "manifest.json"
SIGNATURE = "manifest.sig"
_UNLISTED = {MANIFEST, SIGNATURE}
_MAX_BYTES = 1_000_000  # of a bundle's file: all of them are texts


class BundleError(FedTinyError):
    """A bundle that is incomplete, changed, or not signed by whom it should be."""


def sign_folder(folder: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write the manifest of ``folder`` and its signature by ``key``."""
    names = sorted(path.name for path in folder.iterdir() if path.name not in _UNLISTED)
    digests = {name: _digest(folder / name) for name in names}
    text = json.dumps({"sha256": digests}, indent=1, sort_keys=True).encode() + b"\n"
    (folder / MANIFEST).write_bytes(text)
    (folder / SIGNATURE).write_bytes(key.sign(text, ec.ECDSA(hashes.SHA256())))


def verify_folder(folder: Path, authority: str = "") -> x509.Certificate:
    """See that every file of ``folder`` is as its authority signed it; that authority.

    Args:
        folder: of the bundle.
        authority: fingerprint that ``ca.crt`` must have; any if empty.

    Raises:
        BundleError: a file is missing, added or changed, the signature is not the authority's,
            or the authority is another one.
    """
    text, signature = _read(folder / MANIFEST), _read(folder / SIGNATURE)
    certificate = load_certificate(folder / CA_FILE)
    found = certificate_fingerprint(certificate)
    if authority and authority.removeprefix("SHA256:").lower() != found.removeprefix("SHA256:"):
        raise BundleError(
            f"{folder} is of the federation {found}, not of {authority}: it was not made by your "
            "operator, or the federation was made anew; ask for the fingerprint"
        )
    try:
        key = certificate.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey):
            raise BundleError(f"{folder / CA_FILE} holds no ECDSA key: it is not one of ours")
        key.verify(signature, text, ec.ECDSA(hashes.SHA256()))
    except (ValueError, UnsupportedAlgorithm) as error:
        raise BundleError(f"{folder / CA_FILE} holds no sound key: {error}") from error
    except InvalidSignature:
        raise _reissue(folder, f"{MANIFEST} is not signed by {CA_FILE}") from None
    _check_digests(folder, text)
    return certificate


def certificate_fingerprint(certificate: x509.Certificate) -> str:
    """``SHA256:`` and 64 hexadecimal digits."""
    return f"SHA256:{certificate.fingerprint(hashes.SHA256()).hex()}"


def load_certificate(path: Path) -> x509.Certificate:
    """The certificate in a PEM file.

    Raises:
        BundleError: it cannot be read or holds none.
    """
    try:
        return x509.load_pem_x509_certificate(_read(path))
    except ValueError as error:
        raise BundleError(f"{path} holds no certificate: {error}") from error


def _check_digests(folder: Path, text: bytes) -> None:
    listed: dict[str, str] = json.loads(text)["sha256"]
    there = {path.name for path in folder.iterdir()} - _UNLISTED
    if missing := sorted(listed.keys() - there):
        raise _reissue(folder, f"{', '.join(missing)} is missing")
    if added := sorted(there - listed.keys()):
        raise _reissue(folder, f"{', '.join(added)} is not part of it")
    for name, digest in listed.items():
        if _digest(folder / name) != digest:
            raise _reissue(folder, f"{name} was changed")


def _reissue(folder: Path, what: str) -> BundleError:
    return BundleError(
        f"{folder}: {what}. Bundles are not edited but issued again: on the operator's machine, "
        "`python -m sims.deploy renew DIR --node NAME`, then copy it to the device"
    )


def _digest(path: Path) -> str:
    return hashlib.sha256(_read(path)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        if path.is_file() and path.stat().st_size > _MAX_BYTES:
            raise BundleError(f"{path} has more than {_MAX_BYTES:,} bytes: no file of a bundle has")
        return path.read_bytes()
    except OSError as error:
        raise BundleError(
            f"cannot read {path}: {error.strerror}; a bundle is the folder that "
            "`python -m sims.deploy approve` wrote: copy it whole"
        ) from error
