"""A deployment's folder: what lies where, and the facts that ``init`` wrote down."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import tomli_w
from pydantic import TypeAdapter, ValidationError

from fedtiny.errors import FedTinyError
from fedtiny.node.address import host_and_port, is_ipv6
from fedtiny.runs.fields import complaint
from fedtiny.text_files import TextFileError, read_toml

_FORMAT = 1


class DeployError(FedTinyError):
    """Something about a deployment that its operator can put right."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What every node is told of the server.

    Attributes:
        name: of the federation.
        host: name or address under which devices reach the server.
        port: of the SuperLink.
    """

    name: str
    host: str
    port: int

    @property
    def address(self) -> str:
        """Where devices reach the server."""
        return host_and_port(self.host, self.port)

    @property
    def own_host(self) -> str:
        """Where this machine itself does: its loopback address, of ``host``'s kind."""
        return "::1" if is_ipv6(self.host) else "127.0.0.1"


_SETTINGS = TypeAdapter(Settings)


@dataclass(frozen=True, slots=True)
class Home:
    """The operator's folder; only its owner may enter it.

    Attributes:
        path: of the folder.
    """

    path: Path

    @property
    def settings_file(self) -> Path:
        """The facts of ``init``."""
        return self.path / "federation.toml"

    @property
    def job(self) -> Path:
        """The resolved config of the run that devices take part in."""
        return self.path / "job.toml"

    @property
    def ca_key(self) -> Path:
        """The authority's private key."""
        return self.path / "ca.key"

    @property
    def ca_certificate(self) -> Path:
        """The authority's certificate: public, in every bundle."""
        return self.path / "ca.crt"

    @property
    def server_key(self) -> Path:
        """The SuperLink's private key."""
        return self.path / "server.key"

    @property
    def server_certificate(self) -> Path:
        """The SuperLink's certificate."""
        return self.path / "server.crt"

    @property
    def nodes(self) -> Path:
        """One file for each node."""
        return self.path / "nodes"

    @property
    def bundles(self) -> Path:
        """One folder for each node: what it is given."""
        return self.path / "bundles"

    @property
    def audit(self) -> Path:
        """One line for each administrative act, join and refusal."""
        return self.path / "audit.jsonl"

    @property
    def runtime(self) -> Path:
        """What running processes write: logs, the SuperLink's database, their ids."""
        return self.path / "runtime"

    @property
    def flower_home(self) -> Path:
        """The folder of the ``flwr`` command's settings."""
        return self.runtime / "flower"

    @property
    def logs(self) -> Path:
        """One log for each process."""
        return self.runtime / "logs"

    @property
    def superlink_unit(self) -> Path:
        """For systemd: the server as a service."""
        return self.path / "fedtiny-superlink.service"

    def pid_file(self, name: str) -> Path:
        """Where the id of a running process stands, for service managers."""
        return self.runtime / "processes" / f"{name}.pid"

    @property
    def local(self) -> Path:
        """Nodes that ``up --local`` runs on this machine: keys, state and data."""
        return self.path / "local"

    @property
    def results(self) -> Path:
        """The run folder."""
        return self.path / "run"

    def settings(self) -> Settings:
        """What ``init`` wrote.

        Raises:
            DeployError: the folder is no deployment, or of another version.
        """
        try:
            tree = read_toml(self.settings_file)
        except TextFileError as error:
            raise DeployError(
                f"{self.path} is no deployment: {error}. Make one with "
                f"`python -m sims.deploy init {self.path} --host HOST`"
            ) from error
        if tree.pop("format", None) != _FORMAT:
            raise DeployError(f"{self.settings_file} is not of format {_FORMAT}: init anew")
        try:
            return _SETTINGS.validate_python(tree)
        except ValidationError as error:
            raise DeployError(f"{self.settings_file}: {complaint(error)}") from error


def create(path: Path, settings: Settings) -> Home:
    """A new deployment folder, mode 0700.

    Raises:
        DeployError: it holds something already, or cannot be made.
    """
    home = Home(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        if any(path.iterdir()):
            raise DeployError(
                f"{path} is not empty: name a new folder; keys are never overwritten. "
                "A new server certificate: `python -m sims.deploy renew DIR`"
            )
        path.chmod(0o700)
        home.nodes.mkdir()
        home.bundles.mkdir()
        text = tomli_w.dumps({"format": _FORMAT, **asdict(settings)})
        home.settings_file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DeployError(f"cannot make {path}: {error.strerror}") from error
    return home
