"""The key pair a node is known by: ECDSA on P-384, in OpenSSH's format, as Flower wants it."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from fedtiny.errors import FedTinyError
from fedtiny.node.private import read_private, write_private


class KeyFileError(FedTinyError):
    """A file that holds no key of the kind wanted."""


def make_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """Make a node's private key in a new file ``path``, mode 0600.

    Raises:
        PrivateFileError: ``path`` exists or cannot be written.
    """
    key = ec.generate_private_key(ec.SECP384R1())
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    write_private(path, text)
    return key


def load_key(path: Path) -> ec.EllipticCurvePrivateKey:
    """A node's private key.

    Raises:
        PrivateFileError: unreadable, or readable by others.
        KeyFileError: it is no such key.
    """
    try:
        key = serialization.load_ssh_private_key(read_private(path), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyFileError(
            f"{path} holds no unencrypted OpenSSH private key: make one with "
            "`python -m sims.deploy request`"
        ) from error
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise KeyFileError(f"{path} holds a key that is not ECDSA: Flower's nodes need ECDSA")
    return key


def public_text(key: ec.EllipticCurvePublicKey) -> str:
    """One line as in an OpenSSH ``.pub`` file, without a comment."""
    return key.public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    ).decode()


def read_public(text: str, source: str) -> ec.EllipticCurvePublicKey:
    """The key that a line of a ``.pub`` file holds; ``source`` says where it stood.

    Raises:
        KeyFileError: it holds none.
    """
    try:
        key = serialization.load_ssh_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm, NotImplementedError) as error:
        # the last for a compressed point, which no key of ours has
        raise KeyFileError(f"{source}: no OpenSSH public key: {error}") from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise KeyFileError(f"{source}: the key is not ECDSA: Flower's nodes need ECDSA")
    return key


def fingerprint(public: str) -> str:
    """What ``ssh-keygen -l`` prints of a public key: SHA256 over its encoding.

    >>> fingerprint("ecdsa-sha2-nistp384 AAAA")
    'SHA256:cJ6AyISHokEeHuTfufIqhhSS0gxHZRUMDHlKvXD4FHw'
    """
    blob = base64.b64decode(public.split()[1])
    digest = base64.b64encode(hashlib.sha256(blob).digest()).decode()
    return f"SHA256:{digest.rstrip('=')}"
