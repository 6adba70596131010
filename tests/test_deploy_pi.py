"""A node with an AArch64 Python, installed and run under emulation, trains in a real federation.

``make pi-test`` runs it, as root. Debian's arm64 packages and PyPI's arm64 wheels are a Raspberry
Pi's; the processor is QEMU's. Not run: a kernel of that architecture, systemd, and the compiler:
the engine is cross-compiled, else emulating a compiler would take most of the time.

Its model after a round is compared with that of x86-64's baseline kernels. How far two right ones
may lie apart is measured beside it: the baseline kernels again, each batch in another order.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from deployments import Deployment, finish, make, wait_for
from guide import block_with
from guide_hosts import mounted, run

from fedtiny.config import load
from fedtiny.data.batches import batches
from fedtiny.engine.build import LIBRARY
from fedtiny.engine.build import build as compile_engine
from fedtiny.engine.library import Library
from fedtiny.runs import checkpoint
from fedtiny.runs.events import Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.training import local
from fedtiny.wire.phase import Phase
from sims.backends import Backend, run_federation

ROOT = Path(__file__).parents[1]
BASE = ROOT / "build/debian-arm64"
COMPILER = "aarch64-linux-gnu-g++"
EMULATOR = "/usr/bin/qemu-aarch64-static"
RULE = Path("/proc/sys/fs/binfmt_misc/fedtiny-aarch64")
MAGIC = (
    rb":fedtiny-aarch64:M::"
    rb"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00:"
    rb"\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff:"
)
"""How the kernel recognises a program for AArch64 (Documentation/admin-guide/binfmt-misc.rst)."""

HEARTBEAT_S = 200
"""Flower's own is 30, within which an emulated client would have to be up."""

FIXED, ADJUSTED = 1, 2
"""Rounds: only the second one adjusts masks."""

SAMPLES = 128
"""So few that no activation lies within rounding of zero, where one bit decides a gradient: over a
whole epoch of them x86-64's kernels differ from themselves by percents, in any order."""

Rows = Iterator[np.ndarray]

ORDERS = 8
TIMES = 2
"""A layer may differ by so much more than in the worst of those orders. Their differences are
sums of thousands of roundings: from one order to the next they vary by a third at most."""

pytestmark = [
    pytest.mark.deploy,
    pytest.mark.timeout(3600),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may enter another root"),
    pytest.mark.skipif(not Path(EMULATOR).exists(), reason="qemu-user-static is not installed"),
    pytest.mark.skipif(not shutil.which(COMPILER), reason=f"{COMPILER} is not installed"),
    pytest.mark.skipif(not shutil.which("debootstrap"), reason="debootstrap is not installed"),
]


def debian_arm64(folder: Path) -> Path:
    """A fresh arm64 root, its packages unpacked; no program of it was run."""
    if folder.exists():
        return folder
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    packages = "--include=ca-certificates,python3,python3-venv,libstdc++6"
    words = ["--foreign", "--arch=arm64", "--variant=minbase", packages, "bookworm", str(part)]
    run(["debootstrap", *words])
    for package in sorted((part / "var/cache/apt/archives").glob("*.deb")):
        run(["dpkg-deb", "-x", str(package), str(part)])
    part.rename(folder)
    return folder


@dataclass(frozen=True)
class Pi:
    """An arm64 root in which programs are run."""

    root: Path

    def command(self, *words: str) -> list[str]:
        environment = (
            "PATH=/usr/bin:/bin",
            "HOME=/root",
            f"FEDTINY_TEST_HEARTBEAT_S={HEARTBEAT_S}",
        )
        hooks = "PYTHONPATH=/root/hooks:/root/fedtiny"
        return ["chroot", str(self.root), "env", "-i", *environment, hooks, *words]

    def type(self, line: str) -> str:
        return run(self.command("sh", "-ec", f"cd && {line}"))


@pytest.fixture(scope="module")
def pi(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pi]:
    """FedTiny and Flower installed as the guide says, from wheels that the desk downloaded."""
    folder = tmp_path_factory.mktemp("pi")
    root = folder / "root"
    run(["cp", "-a", f"{debian_arm64(BASE)}/.", str(root)])
    home = root / "root"
    sources = home / "fedtiny"
    sources.mkdir()
    subprocess.run(f"git archive HEAD | tar x -C {sources}", shell=True, cwd=ROOT, check=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CXX", COMPILER)
        compile_engine(sources / "fedtiny/engine" / LIBRARY, machine="aarch64")
    shutil.copytree(ROOT / "tests/hooks", home / "hooks")
    wheels = block_with("deploy wheels").splitlines()[0].split()
    run([sys.executable, *wheels[1:4], str(home / "wheels"), *wheels[5:]], ROOT)
    with ExitStack() as stack:
        stack.enter_context(emulation())
        stack.enter_context(mounted(root))
        pi = Pi(root)
        assert pi.type("uname -m").strip() == "aarch64"
        *_, venv, pip = block_with("apt-get install").replace("sudo ", "").splitlines()
        pi.type(venv)
        pi.type(pip.replace("pip install", "pip install --no-index --find-links wheels"))
        yield pi


@contextmanager
def emulation() -> Iterator[None]:
    """The kernel starts AArch64 programs with QEMU; undone at the end if it was done here."""
    with ExitStack() as ends:
        if not RULE.with_name("register").exists():
            run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(RULE.parent)])
            ends.callback(run, ["umount", str(RULE.parent)])
        if not RULE.exists():
            RULE.with_name("register").write_bytes(MAGIC + EMULATOR.encode() + b":F")
            ends.callback(RULE.write_text, "-1", encoding="utf-8")
        yield


@pytest.fixture(scope="module")
def fed(pi: Pi, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A federation of the emulated node alone, after its job."""
    folder = tmp_path_factory.mktemp("desk")
    fed = make(
        folder / "fed",
        *("federation.max_failures=0", "federation.timeout_s=1200"),
        *(f"federation.rounds={ADJUSTED}", f"federation.evaluate_every={ADJUSTED}"),
        *(f"pruning.interval={ADJUSTED}", f"pruning.stop={ADJUSTED}", f"data.limit={SAMPLES}"),
        nodes=1,
        environment={"FEDTINY_TEST_HEARTBEAT_S": str(HEARTBEAT_S)},
    )
    home = pi.root / "root"
    node: subprocess.Popen[bytes] | None = None
    try:
        fed.call("up")
        pi.type(block_with("deploy request"))
        share = ["--device", "pi_zero_2_w", "--data", "/root/share.npz"]
        fed.call("approve", home / "pi0.request", *share)
        fed.call("add-node", "pi0")
        shutil.copytree(fed.home.bundles / "pi0", home / "bundle")
        run(
            [
                sys.executable,
                "-m",
                "fedtiny",
                "deal",
                str(fed.home.job),
                "--out",
                str(fed.home.path / "data"),
            ],
            ROOT,
        )
        shutil.copy(fed.home.path / "data/share-00000.npz", home / "share.npz")
        key = ["--key", "/root/pi0.key"]
        print(pi.type(f"/opt/fedtiny/bin/fedtiny doctor --node bundle {' '.join(key)}"))
        with (folder / "node.log").open("wb") as log:
            words = ["/opt/fedtiny/bin/fedtiny", "node", "/root/bundle", *key, "--state", "/root/s"]
            command = pi.command(*words)
            node = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        wait_for(lambda: fed.connection("pi0") == "online", "the emulated node", None)
        finish(fed.begin("run"), patience_s=3000)
        print(fed.call("status"))
        yield fed
    finally:
        if node is not None:
            node.terminate()
            node.wait()
        fed.call("down")


def test_the_engine_is_the_devices_own(pi: Pi) -> None:
    said = pi.type(
        "/opt/fedtiny/bin/python -c 'import platform, fedtiny.engine as e;"
        " print(platform.machine(), e.available())'"
    )
    assert said.split() == ["aarch64", "True"]


def test_it_trained_and_answered_every_message(fed: Deployment) -> None:
    exchanged = fed.run.events(Exchanged)
    assert [(e.asked, e.answered, e.failures) for e in exchanged] == [(1, 1, ())] * len(exchanged)
    phases = [Phase.JOIN, Phase.DESCRIBE, Phase.TRAIN, Phase.TRAIN, Phase.EVALUATE]
    assert [e.phase for e in exchanged] == [*phases, Phase.CALIBRATE]
    for one in exchanged:
        print(f"{one.phase}: {one.seconds:.0f} s")


def test_a_round_s_values_are_those_of_x86_64_within_rounding(
    fed: Deployment, tmp_path: Path
) -> None:
    ours = here(fed, tmp_path / "run")
    others = [here(fed, tmp_path / f"order-{seed}", seed) for seed in range(ORDERS)]
    apart = distances(ours, after_round(FIXED, fed.run))
    allowed = {
        name: TIMES * max(distances(ours, other)[name] for other in others) for name in apart
    }
    worst = max(apart, key=lambda name: apart[name] - allowed[name])
    for name, one in apart.items():
        print(f"{name:24} {one:.1e}, orders up to {allowed[name] / TIMES:.1e}")
    assert apart[worst] <= allowed[worst], worst
    assert max(allowed.values()) < 1e-5, "rounding was carried on, and nothing is compared"


def here(fed: Deployment, folder: Path, seed: int | None = None) -> dict[str, np.ndarray]:
    """The same round in one process of this machine, by its baseline kernels.

    With a seed, the samples of each batch are in another order.
    """
    chosen = Library.set_index

    def reordered(count: int, size: int, drawn: np.random.Generator, epochs: int) -> Rows:
        order = np.random.default_rng(seed)
        for rows in batches(count, size, drawn, epochs):
            yield order.permutation(rows) if seed is not None else rows

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Library, "set_index", lambda self, name: chosen(self, name or "baseline"))
        patch.setattr(local, "batches", reordered)
        run_federation(load(fed.home.job), RunFolder(folder), Backend.INLINE)
    return after_round(FIXED, RunFolder(folder))


def after_round(round: int, folder: RunFolder) -> dict[str, np.ndarray]:
    return checkpoint.read(folder.checkpoints / f"round-{round:05d}.safetensors")[0]


def distances(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> dict[str, float]:
    """Of every float array, as a share of its norm; all others must be equal."""
    assert ours.keys() == theirs.keys()
    same = [name for name, array in ours.items() if array.dtype != np.float32]
    assert all(np.array_equal(ours[name], theirs[name]) for name in same), "masks"
    return {
        name: float(np.linalg.norm(theirs[name] - array) / np.linalg.norm(array))
        for name, array in ours.items()
        if name not in same and np.any(array)
    }
