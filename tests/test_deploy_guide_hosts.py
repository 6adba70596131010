"""clients/README.md typed word for word: a desk and two fresh Pis reach their first round.

``make guide-test`` runs it, as root: the Pis are Debian roots with a network and an SSH server of
their own. What is not as the guide has it: no systemd runs (the node's unit is read, and started by
hand), and packages come through this machine's network: for ``pi0`` from Debian and PyPI, for
``pi1`` from the desk, as the guide has it for Pis that reach no index.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from deployments import wait_for
from guide import BLOCKS, block_with
from guide_hosts import Desk, Pi, debian, network, pi_from, run
from memory_watch import Sizes, node_sizes

from fedtiny.runs.events import Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.wire.phase import Phase
from sims.deploy.admission import FLOWER_BYTES

ROOT = Path(__file__).parents[1]
BASE = ROOT / "build/debian"
ALL_RESIDENT_MB = 400
"""What all processes of a node may hold on the sparse path, each with what it shares."""

ADDRESSES = {"pi0": "192.168.1.20", "pi1": "192.168.1.21"}

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may make hosts"),
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="debootstrap is not installed"),
]

INIT = block_with("init fed")
SERVICE = block_with("enable --now")
SOURCES = block_with("git archive")
INSTALL = block_with("apt-get install")
WHEELS = block_with("deploy wheels")
ASK = block_with("deploy request")
LET_IN = block_with("deploy approve")
PUT = block_with("install.sh")
ROUND = block_with("run fed")

NOT_TYPED = [BLOCKS[0], SERVICE, block_with("CONF_SWAPSIZE")]
"""The tour on one machine has its own test; the others need a booted system."""


def test_every_block_is_typed_or_known_not_to_be() -> None:
    typed = [INIT, SOURCES, INSTALL, WHEELS, ASK, LET_IN, PUT, ROUND]
    assert sorted([*typed, *NOT_TYPED]) == sorted(BLOCKS)


@dataclass(frozen=True)
class Reader:
    """Who does what the guide says, at a desk."""

    desk: Desk
    pis: dict[str, Pi]
    folder: Path

    def at_desk(self, block: str, name: str = "pi0") -> str:
        return self.desk.type(of(block, name))

    def on(self, name: str, block: str) -> str:
        """Through SSH, as the Pi has no screen."""
        lines = of(block, name).rstrip("\n")
        return self.desk.type(f"ssh pi@{name}.local bash -e <<'END'\n{lines}\nEND\n")


def of(block: str, name: str) -> str:
    """The guide's text for ``pi0`` as it is for another one."""
    number = name.removeprefix("pi")
    text = block.replace("pi0", name).replace("share-00000", f"share-0000{number}")
    return text.replace("--partition 0", f"--partition {number}")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    folder = tmp_path_factory.mktemp("guide")
    checkout = folder / "checkout"
    run(["git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(checkout)])
    for library in (ROOT / "fedtiny/engine").glob("_engine*.so"):  # as `make install` leaves it
        shutil.copy(library, checkout / "fedtiny/engine")
    key = folder / "key"
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)])
    environment = shims(folder, key, checkout)
    public = key.with_suffix(".pub").read_text(encoding="utf-8")
    base = debian(BASE)
    with ExitStack() as stack:
        pis = {
            name: stack.enter_context(pi_from(base, name, address, folder, public))
            for name, address in ADDRESSES.items()
        }
        stack.enter_context(network([*pis.values()]))
        for pi in pis.values():
            run(pi.enter("/usr/sbin/sshd", user="root"))
        yield Reader(Desk(checkout, environment), pis, folder)


def shims(folder: Path, key: Path, checkout: Path) -> dict[str, str]:
    """``ssh`` and ``scp`` that know the Pis' names; FedTiny's programs first."""
    settings = folder / "ssh_config"
    hosts = "".join(f"Host {n}.local\n  HostName {a}\n" for n, a in ADDRESSES.items())
    every = f"Host *\n  IdentityFile {key}\n  StrictHostKeyChecking no\n  LogLevel ERROR\n"
    known = "  UserKnownHostsFile /dev/null\n"
    settings.write_text(hosts + every + known, encoding="utf-8")
    programs = folder / "bin"
    programs.mkdir()
    for name in ("ssh", "scp"):
        text = f'#!/bin/sh\nexec {shutil.which(name)} -F {settings} "$@"\n'
        (programs / name).write_text(text, encoding="utf-8")
        (programs / name).chmod(0o755)
    path = os.pathsep.join([str(programs), str(Path(sys.executable).parent), os.environ["PATH"]])
    return {"PATH": path, "PYTHONPATH": str(checkout)}


def test_the_guide_leads_to_the_first_round(reader: Reader) -> None:
    said = reader.at_desk(INIT)
    fingerprint = next(w.strip(",") for w in said.split() if w.startswith("SHA256:"))
    run(["bash", "-ec", WHEELS.splitlines()[0].replace("aarch64", os.uname().machine)],
        reader.desk.checkout, reader.desk.environment)  # fmt: skip
    nodes = []
    try:
        for name, pi in reader.pis.items():
            install(reader, name, pi)
            reader.on(name, ASK)
            reader.at_desk(LET_IN, name)
            put = PUT.replace("SHA256:FINGERPRINT", fingerprint)
            reader.on(name, "".join(x for x in put.splitlines(True) if "journalctl" not in x))
            nodes.append(pi.start_unit(reader.folder / f"{name}.log"))
        seen = first_round(reader, nodes[0].pid)
        shared = max(one.proportional for one in seen)
        most = max(seen, key=lambda one: one.all_resident)
        print(f"MB in pi0 at most: {shared}; resident {most.all_resident}: {most.resident}")
        assert most.all_resident < ALL_RESIDENT_MB
        assert shared < FLOWER_BYTES / 1e6, "what the unit's MemoryMax allows it"
    finally:
        for node in nodes:
            node.terminate()
        reader.desk.type("python -m sims.deploy down fed")


def online(reader: Reader) -> int:
    said = reader.desk.type("python -m sims.deploy status fed --json")
    return said.count('"connection": "online"')


def install(reader: Reader, name: str, pi: Pi) -> None:
    """``pi0`` from Debian and PyPI, ``pi1``'s Python packages from the desk."""
    reader.at_desk(SOURCES, name)
    *lines, pip = INSTALL.splitlines()
    for line in lines:
        pi.type_with_internet(line)
    if name == "pi0":
        pi.type_with_internet(pip)
    else:
        reader.at_desk(WHEELS.splitlines()[1], name)
        reader.on(name, pip.replace("pip install", "pip install --no-index --find-links wheels"))


def first_round(reader: Reader, node: int) -> list[Sizes]:
    """What the node of this process took, again and again until the round was over."""
    status, job = ROUND.splitlines()

    wait_for(lambda: online(reader) == len(ADDRESSES), "both Pis", None)
    process = subprocess.Popen(
        reader.desk.command(job),
        cwd=reader.desk.checkout,
        env={**os.environ, **reader.desk.environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )
    started = time.monotonic()
    checkpoint = reader.desk.checkout / "fed/run/checkpoints/round-00001.safetensors"
    seen: list[Sizes] = []

    def over() -> bool:
        seen.append(node_sizes(node))
        return checkpoint.exists()

    wait_for(over, "the first round", process)
    print(f"the first round after {time.monotonic() - started:.0f} s")
    process.kill()
    process.communicate()
    print(reader.at_desk(status + "\n"))
    exchanged = RunFolder(reader.desk.checkout / "fed/run").events(Exchanged)
    trained = next(one for one in exchanged if one.phase is Phase.TRAIN)
    assert (trained.round, trained.asked, trained.answered) == (1, 2, 2)
    return seen
