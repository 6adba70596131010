"""Hosts of the guide on one machine: roots with a fresh Debian, each in a network of its own.

Needs root. A host is a folder to ``chroot`` into and a network namespace; a bridge in the desk's
joins them. What is not so: there is no systemd running in them, and no way out of their network, so
packages are installed in this machine's.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

RELEASE = "bookworm"
DESK_ADDRESS = "192.168.1.10"
"""The guide's."""

_PACKAGES = "ca-certificates,sudo,systemd,openssh-server,python3"
"""Of Raspberry Pi OS Lite, what the guide's reader finds there."""

_REACHES_INDEXES = ("etc/resolv.conf", "etc/pip.conf", "etc/ssl/certs/ca-certificates.crt")
"""How this machine reaches Debian and PyPI."""


def debian(folder: Path) -> Path:
    """A fresh root; made if it is not there: a minute, 300 MB."""
    if not folder.exists():
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        words = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", RELEASE, str(part)]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
        part.rename(folder)
    return folder


@dataclass(frozen=True)
class Pi:
    """One Raspberry Pi's stand-in.

    Attributes:
        name: ``pi0``; of its network namespace, too.
        root: folder of its file system.
        address: in the desk's network.
    """

    name: str
    root: Path
    address: str

    def enter(self, *words: str, user: str = "pi", network: bool = True) -> list[str]:
        """Command line of a command in the root, in its own network or in this machine's."""
        inside = ["chroot", f"--userspec={user}:{user}", str(self.root), *words]
        return ["ip", "netns", "exec", self.name, *inside] if network else inside

    def type_with_internet(self, line: str) -> None:
        """What ``pi`` types at home, as a shell's line, while packages are fetched."""
        home = {"HOME": "/home/pi", "USER": "pi", "PATH": _PATH}
        words = ["sh", "-ec", f"cd && {line}"]
        run(self.enter("env", *(f"{k}={v}" for k, v in home.items()), *words, network=False))

    def start_unit(self, log: Path) -> subprocess.Popen[bytes]:
        """What systemd would do with the node's installed unit, its limits aside."""
        unit = (self.root / "etc/systemd/system/fedtiny-node.service").read_text(encoding="utf-8")
        found = dict(re.findall(r"^(User|ExecStart)=(.*)$", unit, re.MULTILINE))
        environment = " ".join(re.findall(r"^Environment=(.*)$", unit, re.MULTILINE))
        words = ["env", "-i", f"PATH={_PATH}", *environment.split()]
        command = self.enter(*words, *shlex.split(found["ExecStart"]), user=found["User"])
        with log.open("wb") as output:
            return subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)


_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Desk:
    """The operator's machine: this one's file system, in a network of its own.

    Attributes:
        checkout: a clone of what is committed, the folder that commands run in.
        environment: of them.
    """

    checkout: Path
    environment: Mapping[str, str]

    def command(self, line: str) -> list[str]:
        return ["ip", "netns", "exec", "desk", "bash", "-o", "pipefail", "-ec", line]

    def type(self, line: str) -> str:
        """What the operator types, as a shell's line; all that it printed."""
        return run(self.command(line), self.checkout, self.environment)


def run(
    command: list[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> str:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}"
    return done.stdout


@contextmanager
def network(pis: list[Pi]) -> Iterator[None]:
    """The desk and the Pis on one bridge."""
    names = ["desk", *(pi.name for pi in pis)]
    with ExitStack() as ends:
        for name in names:
            run(["ip", "netns", "add", name])
            ends.callback(_end, name)
            _ip(name, "link set lo up")
        _ip("desk", "link add br0 type bridge")
        _ip("desk", f"addr add {DESK_ADDRESS}/24 dev br0")
        _ip("desk", "link set br0 up")
        for pi in pis:
            _ip("desk", f"link add to-{pi.name} type veth peer name eth0 netns {pi.name}")
            _ip("desk", f"link set to-{pi.name} master br0 up")
            _ip(pi.name, f"addr add {pi.address}/24 dev eth0")
            _ip(pi.name, "link set eth0 up")
        yield


def _ip(namespace: str, words: str) -> None:
    run(["ip", "-n", namespace, *words.split()])


def _end(namespace: str) -> None:
    """Whoever lives in it, and the namespace."""
    for pid in run(["ip", "netns", "pids", namespace]).split():
        os.kill(int(pid), signal.SIGKILL)
    run(["ip", "netns", "del", namespace])


@contextmanager
def pi_from(base: Path, name: str, address: str, folder: Path, key: str) -> Iterator[Pi]:
    """A Pi whose card was just written: user ``pi`` may do everything, and let ``key`` in."""
    root = folder / name
    run(["cp", "-a", f"{base}/.", str(root)])
    run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "pi"])
    (root / "etc/sudoers.d/pi").write_text("pi ALL=(ALL) NOPASSWD: ALL\n", encoding="utf-8")
    (root / "etc/hostname").write_text(f"{name}\n", encoding="utf-8")
    own = (root / "etc/hosts").read_text(encoding="utf-8") if (root / "etc/hosts").exists() else ""
    text = f"{own}127.0.0.1 localhost {os.uname().nodename}\n"
    (root / "etc/hosts").write_text(text, encoding="utf-8")
    for file in _REACHES_INDEXES:
        if Path("/", file).exists():
            shutil.copy(Path("/", file), root / file)
    offline = root / "usr/local/bin/systemctl"  # it installs units, and leaves starting them to us
    offline.write_text(
        '#!/bin/sh\nSYSTEMD_OFFLINE=1 exec /usr/bin/systemctl "$@"\n', encoding="utf-8"
    )
    offline.chmod(0o755)
    ssh = root / "home/pi/.ssh"
    ssh.mkdir(mode=0o700)
    (ssh / "authorized_keys").write_text(key, encoding="utf-8")
    run(["chroot", str(root), "chown", "-R", "pi:pi", "/home/pi"])
    (root / "run/sshd").mkdir(parents=True, exist_ok=True)
    with mounted(root):
        yield Pi(name, root, address)


@contextmanager
def mounted(root: Path) -> Iterator[None]:
    run(["mount", "-t", "proc", "proc", str(root / "proc")])
    try:
        yield
    finally:
        run(["umount", "--lazy", str(root / "proc")])
