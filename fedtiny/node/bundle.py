"""A node's bundle: what the operator gives to one device. The private key is never in it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fedtiny.node.manifest import CA_FILE, BundleError, verify_folder

SETTINGS = "node.json"


class NodeSettings(BaseModel):
    """What a device is told about itself and its server (``node.json``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(1, ge=1, le=1)
    federation: str = Field(description="name of the federation")
    node: str = Field(description="name of this node")
    host: str = Field(description="of the SuperLink: a name or an address of its certificate")
    port: int = Field(ge=1, le=65535, description="of the SuperLink")
    partition: int = Field(ge=0, description="which part of the data this node holds")
    partitions: int = Field(ge=1, description="nodes of the federation")
    device: str = Field("", description="its board in the device catalogue; empty for none")
    memory_max_bytes: int = Field(ge=1, description="what node and client may take together")
    data: str = Field(description="the device's samples: an .npz file, or a folder of shares")
    key_fingerprint: str = Field(description="of the key that the device made")
    valid_until: datetime = Field(description="after which the operator issues it again")


@dataclass(frozen=True)
class Bundle:
    """A bundle whose signature was checked.

    Attributes:
        folder: where it lies.
        settings: of the node.
        authority: the certificate that signed it and the server's.
    """

    folder: Path
    settings: NodeSettings
    authority: x509.Certificate

    @property
    def ca_file(self) -> Path:
        """The certificate as PEM: what the server's certificate is checked with."""
        return self.folder / CA_FILE

    @property
    def days_left(self) -> int:
        """Whole days until the bundle or its authority expires; negative once it has."""
        until = min(self.settings.valid_until, self.authority.not_valid_after_utc)
        return (until - datetime.now(UTC)).days

    @property
    def node_config(self) -> str:
        """Flower's ``--node-config``: what ``clients.device`` reads."""
        one = self.settings
        device = f' device="{one.device}"' if one.device else ""
        ids = f"partition-id={one.partition} num-partitions={one.partitions}"
        return f'{ids} data="{one.data}"{device}'


def read_bundle(folder: Path, authority: str = "") -> Bundle:
    """The bundle in ``folder``, its signature checked.

    Args:
        folder: as ``python -m sims.deploy approve`` wrote it.
        authority: fingerprint of the federation's certificate; any if empty.

    Raises:
        BundleError: see :func:`fedtiny.node.manifest.verify_folder`; or its settings are wrong.
    """
    certificate = verify_folder(folder, authority)
    try:
        settings = NodeSettings.model_validate_json((folder / SETTINGS).read_bytes())
    except (OSError, ValidationError) as error:
        raise BundleError(f"{folder / SETTINGS}: {error}") from error
    return Bundle(folder, settings, certificate)
