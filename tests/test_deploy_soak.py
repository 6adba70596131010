"""A hundred rounds: nothing grows, and a device that trains for five minutes is not lost.

``make soak`` runs it, in twenty minutes. ``make deploy-test`` has shorter ones in other tests.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from deployments import PATIENCE_S, Deployment, Gates, finish, make, wait_for
from memory_watch import Watch
from nat import FORGETS_S, Nat, start_behind

from fedtiny.config import load
from fedtiny.runs.events import Exchanged
from fedtiny.runs.folder import RunFolder
from fedtiny.wire.phase import Phase
from sims.backends import Backend, run_federation

ROUNDS = int(os.environ.get("FEDTINY_SOAK_ROUNDS", "100"))
SLOW_S = float(os.environ.get("FEDTINY_SOAK_SLOW_S", "300"))
TABLE = os.environ.get("FEDTINY_SOAK_TABLE", "")
"""CSV file to write the measured memory to."""

SLOW = 2
"""The round in which local-1 trains for so long."""

WARM = 3
"""After so many rounds everything that will be imported is."""

GROWTH_MB = 6.0

pytestmark = [pytest.mark.deploy, pytest.mark.timeout(900 + 40 * ROUNDS + SLOW_S)]


@dataclass(frozen=True)
class Soak:
    """A federation that has had all its rounds."""

    fed: Deployment
    nat: Nat
    watch: Watch


@pytest.fixture(scope="module")
def soak(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Soak]:
    folder = tmp_path_factory.mktemp("soak")
    gates = Gates(folder / "gates")
    gates.folder.mkdir()
    sizes = (f"federation.rounds={ROUNDS}", f"federation.evaluate_every={ROUNDS}")
    fed = make(
        folder / "fed",
        *("federation.max_failures=0", "federation.timeout_s=1200", *sizes),
        nodes=2,
        environment=gates.environment,
    )
    nat = Nat(fed.home.settings().port, FORGETS_S)
    node: subprocess.Popen[str] | None = None
    try:
        fed.call("up", "--local", 2, "--no-job")
        os.kill(fed.pid("local-1"), signal.SIGTERM)
        wait_for(lambda: "terminated gracefully" in fed.log("local-1"), "its end", None)
        node = start_behind(nat, fed, "local-1", folder / "bundle")
        wait_for(lambda: fed.connection("local-1") == "online", "local-1 behind its router", None)
        watch = Watch(fed, {"local-1": node.pid})
        run(watch, gates)
        yield Soak(fed, nat, watch)
    finally:
        fed.call("down")
        if node is not None:
            node.terminate()
            node.wait(timeout=PATIENCE_S)
        nat.close()


def run(watch: Watch, gates: Gates) -> None:
    gates.hold(1, SLOW)
    job = watch.fed.begin("run")
    wait_for(partial(gates.held, 1, SLOW), "a device that trains", job)
    time.sleep(SLOW_S)  # what is tested: it is at work all that time
    gates.release(1, SLOW)
    for round in range(SLOW, ROUNDS + 1):
        wait_for(partial(watch.over, round), f"the end of round {round}", job)
    finish(job)
    if TABLE:
        with Path(TABLE).open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(["round", *watch.rows[0][1]])
            table.writerows([count, *row.values()] for count, row in watch.rows)


def test_a_slow_device_behind_a_router_that_forgets_is_not_lost(soak: Soak) -> None:
    assert soak.nat.forgotten > 0, "else nothing was tested"
    trained = [e for e in soak.fed.run.events(Exchanged) if e.phase is Phase.TRAIN]
    assert [(e.asked, e.answered) for e in trained] == [(2, 2)] * ROUNDS
    assert trained[SLOW - 1].seconds > SLOW_S
    print(f"{soak.nat.forgotten} of {soak.nat.carried} connections forgotten")


def test_the_model_is_that_of_one_process(soak: Soak, tmp_path: Path) -> None:
    run_federation(load(soak.fed.home.job), RunFolder(tmp_path / "run"), Backend.INLINE)
    alone = (tmp_path / "run/model.safetensors").read_bytes()
    assert soak.fed.run.model.read_bytes() == alone


def test_nobody_grows(soak: Soak) -> None:
    assert soak.watch.rows[-1][0] == ROUNDS
    print(f"MB: {soak.watch.rows[0]}, {soak.watch.rows[-1]}; from round {WARM}:")
    growth = soak.watch.growth(WARM)
    print(growth)
    assert max(growth.values()) < GROWTH_MB, growth
