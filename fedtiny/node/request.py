"""What a device sends to be let in: its name and public key, signed with the private one."""

from __future__ import annotations

import base64
import json
import platform
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fedtiny.errors import FedTinyError
from fedtiny.node.keys import fingerprint, public_text, read_public
from fedtiny.node.machine import board_name, ram_bytes
from fedtiny.text_files import TextFileError, read_json

_FORMAT = 1
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,30}")


class RequestError(FedTinyError):
    """A request that was not made by the holder of its key, or is no request at all."""


@dataclass(frozen=True, slots=True)
class Request:
    """A device that asks to take part.

    Attributes:
        name: of the node, unique in its federation.
        public_key: a line in OpenSSH's format.
        board: key in the device catalogue; empty if not recognised.
        ram_bytes: of the device; 0 if unknown.
        python: its version.
    """

    name: str
    public_key: str
    board: str
    ram_bytes: int
    python: str

    @property
    def fingerprint(self) -> str:
        """Of the public key: what operator and device compare."""
        return fingerprint(self.public_key)


def check_name(name: str) -> str:
    """``name`` if it may be a node's: it becomes part of file and unit names.

    Raises:
        RequestError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"node name {name!r}: use 1 to 31 of a-z, 0-9 and -, the first no -, e.g. pi-kitchen"
        )
    return name


def request_of_this_machine(name: str, key: ec.EllipticCurvePrivateKey) -> Request:
    """What this machine would say of itself."""
    public = public_text(key.public_key())
    return Request(check_name(name), public, board_name(), ram_bytes(), platform.python_version())


def write_request(path: Path, request: Request, key: ec.EllipticCurvePrivateKey) -> None:
    """Write ``request``, signed with ``key``: whoever approves it knows that the key is there."""
    signature = key.sign(_signed(request), ec.ECDSA(hashes.SHA384()))
    tree = {"format": _FORMAT, **asdict(request), "signature": base64.b64encode(signature).decode()}
    path.write_text(json.dumps(tree, indent=1) + "\n", encoding="utf-8")


def read_request(path: Path) -> Request:
    """The request in ``path``.

    Raises:
        RequestError: unreadable, of another format, or its signature is not that of its key.
    """
    try:
        tree = read_json(path)
    except TextFileError as error:
        raise RequestError(str(error)) from error
    request, signature = _parsed(path, tree)
    key = read_public(request.public_key, str(path))
    try:
        key.verify(signature, _signed(request), ec.ECDSA(hashes.SHA384()))
    except InvalidSignature:
        raise RequestError(
            f"{path} was changed after it was made, or its maker does not hold the key: "
            "make it again on the device with `python -m sims.deploy request`"
        ) from None
    return request


def _parsed(path: Path, tree: object) -> tuple[Request, bytes]:
    kinds = {"name": str, "public_key": str, "board": str, "ram_bytes": int, "python": str}
    expected = {"format", "signature", *kinds}
    if not isinstance(tree, dict) or set(tree) != expected or tree["format"] != _FORMAT:
        raise RequestError(
            f"{path} is no request of format {_FORMAT}: make it with "
            "`python -m sims.deploy request`"
        )
    for name, kind in kinds.items():
        if type(tree[name]) is not kind or len(str(tree[name])) > 1000:
            raise RequestError(f"{path}: {name} is not what a request says there")
    try:
        check_name(tree["name"])
    except RequestError as error:
        raise RequestError(f"{path}: {error}") from error
    try:
        signature = base64.b64decode(tree["signature"], validate=True)
    except (ValueError, TypeError) as error:
        raise RequestError(f"{path}: the signature is no base64: {error}") from error
    return Request(**{name: tree[name] for name in kinds}), signature


def _signed(request: Request) -> bytes:
    return json.dumps({"format": _FORMAT, **asdict(request)}, sort_keys=True).encode()
